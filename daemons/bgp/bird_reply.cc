#include "daemons/bgp/bird_reply.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace culvert::bgp {
namespace {

constexpr int kProtocolLine = 1002;
constexpr int kProtocolDetails = 1006;

std::string_view trimmed(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\r");
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(" \t\r") - start + 1);
}

/// The next word, taken off the front.
std::string_view word(std::string_view& text) {
  text = trimmed(text);
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view result = text.substr(0, end);
  text.remove_prefix(end);
  return result;
}

template <class T>
T number(std::string_view text) {
  T value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<int> codeOf(std::string_view text) {
  if (text.size() < 5 || (text[4] != '-' && text[4] != ' ')) return std::nullopt;
  const bool digits =
      std::all_of(text.begin(), text.begin() + 4, [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::optional(number<int>(text.substr(0, 4))) : std::nullopt;
}

/// "x  BGP  ---  up  2026-11-21 16:53:59.079  Established"; the time may be one word or two.
ProtocolStatus headline(std::string_view text) {
  ProtocolStatus status;
  status.name = word(text);
  status.kind = word(text);
  word(text);
  status.state = word(text);
  status.since = word(text);
  const std::string_view next = trimmed(text);
  if (!next.empty() && next.front() >= '0' && next.front() <= '9')
    status.since += " " + std::string(word(text));
  status.info = word(text);
  return status;
}

/// "3 imported, 1 filtered, 2 exported, 0 preferred": the number before `what`.
std::uint64_t countBefore(std::string_view text, std::string_view what) {
  const std::size_t at = text.find(what);
  if (at == std::string_view::npos) return 0;
  const std::string_view before = trimmed(text.substr(0, at));
  const std::size_t space = before.find_last_of(" ,");
  return number<std::uint64_t>(space == std::string_view::npos ? before : before.substr(space + 1));
}

void detail(std::string_view text, ProtocolStatus& status) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view key = trimmed(text.substr(0, colon));
  const std::string_view value = trimmed(text.substr(colon + 1));
  if (key == "Description") status.description = value;
  if (key == "Neighbor address" || key == "Neighbor range") status.neighbor = value;
  if (key == "Neighbor AS") status.neighborAs = number<std::uint32_t>(value);
  if (key == "Last error") status.lastError = value;
  if (key.ends_with(" limit") && value.find("[HIT]") != std::string_view::npos)
    status.limitHit = true;
  if (key != "Routes") return;
  status.imported += countBefore(value, "imported");
  status.exported += countBefore(value, "exported");
}

std::string after(std::string_view text, std::string_view prefix) {
  const std::size_t at = text.find(prefix);
  if (at == std::string_view::npos) return {};
  return std::string(trimmed(text.substr(at + prefix.size())));
}

void take(std::string& field, std::string value) {
  if (!value.empty()) field = std::move(value);
}

}  // namespace

Result<bool> ReplyReader::line(std::string_view text) {
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  if (!text.empty() && text.front() == '+') return false;  // an asynchronous message
  const auto code = codeOf(text);
  if (code) {
    reply_.lines.push_back({*code, std::string(text.substr(5))});
    return text[4] == ' ';
  }
  if (text.empty() || text.front() != ' ' || reply_.lines.empty())
    return makeError(Errc::kDecode, "not a reply of BIRD's: " + std::string(text.substr(0, 80)));
  reply_.lines.push_back({reply_.lines.back().code, std::string(text.substr(1))});
  return false;
}

Result<std::optional<Reply>> ReplyReader::feed(std::string_view bytes) {
  bytes_ += bytes.size();
  if (bytes_ > kMaxBytes) return makeError(Errc::kDecode, "a reply of BIRD's without end");
  std::size_t seen = rest_.size();  // without a line's end
  rest_ += bytes;
  std::size_t start = 0;
  for (std::size_t end = 0; (end = rest_.find('\n', seen)) != std::string::npos;) {
    const bool last = TRY(line(std::string_view(rest_).substr(start, end - start)));
    start = seen = end + 1;
    if (!last) continue;
    rest_.erase(0, start);
    bytes_ = rest_.size();
    return std::optional(std::exchange(reply_, {}));
  }
  rest_.erase(0, start);
  return std::optional<Reply>();
}

std::vector<ProtocolStatus> parseProtocols(const Reply& reply) {
  std::vector<ProtocolStatus> list;
  for (const Reply::Line& line : reply.lines) {
    if (line.code == kProtocolLine) list.push_back(headline(line.text));
    if (line.code == kProtocolDetails && !list.empty()) detail(line.text, list.back());
  }
  return list;
}

BirdStatus parseStatus(const Reply& reply) {
  BirdStatus status;
  for (const Reply::Line& line : reply.lines) {
    if (line.code == 1000) status.version = line.text;
    take(status.routerId, after(line.text, "Router ID is"));
    take(status.lastReboot, after(line.text, "Last reboot on"));
    take(status.lastReconfiguration, after(line.text, "Last reconfiguration on"));
    if (line.text.find("Graceful restart recovery in progress") != std::string::npos)
      status.recovering = true;
  }
  return status;
}

}  // namespace culvert::bgp
