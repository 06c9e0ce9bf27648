#include "daemons/objects/bgp_types.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

constexpr std::array<std::string_view, 4> kActions{"Warn", "Block", "Restart", "Disable"};

/// The whole of `text` as a decimal number up to `max`.
std::optional<std::uint32_t> decimal(std::string_view text, std::uint32_t max) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0;;) {
    const std::size_t next = text.find(separator, at);
    parts.push_back(text.substr(at, next - at));
    if (next == std::string_view::npos) return parts;
    at = next + 1;
  }
}

std::int64_t secondsOf(char unit) {
  return unit == 'h' ? 3600 : unit == 'm' ? 60 : unit == 's' ? 1 : 0;
}

bool isNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

bool isDnsSubdomain(std::string_view name) {
  const auto edge = [](char c) { return isNameByte(c) && c != '-' && c != '.'; };
  return !name.empty() && name.size() <= 253 && edge(name.front()) && edge(name.back()) &&
         std::all_of(name.begin(), name.end(), isNameByte);
}

}  // namespace

std::optional<BgpCommunity> BgpCommunity::parse(std::string_view text) {
  const auto parts = split(text, ':');
  if (parts.size() != 2 && parts.size() != 3) return std::nullopt;
  BgpCommunity community{.large = parts.size() == 3};
  const std::uint32_t max = community.large ? std::numeric_limits<std::uint32_t>::max() : 65535;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto word = decimal(parts[i], max);
    if (!word) return std::nullopt;
    community.words.at(i) = *word;
  }
  return community;
}

std::string BgpCommunity::text() const {
  std::string result = std::to_string(words[0]) + ":" + std::to_string(words[1]);
  return large ? result + ":" + std::to_string(words[2]) : result;
}

std::string_view text(LimitAction action) {
  return kActions.at(static_cast<std::size_t>(action));
}

std::optional<std::chrono::seconds> parseDuration(std::string_view text) {
  std::int64_t total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto count = decimal(text.substr(0, digits), 100'000'000);
    const std::int64_t unit = digits < text.size() ? secondsOf(text[digits]) : 0;
    if (!count || unit == 0) return std::nullopt;
    total += static_cast<std::int64_t>(*count) * unit;
    text.remove_prefix(digits + 1);
  }
  return std::chrono::seconds(total);
}

std::optional<AsNumber> readAsNumber(const cni::ConfigReader& reader, std::string_view key) {
  if (reader.isString(key)) {
    const auto parsed = decimal(reader.string(key), std::numeric_limits<AsNumber>::max());
    if (parsed && *parsed > 0) return parsed;
    reader.problem(key, "is not an AS number within 1..4294967295");
    return std::nullopt;
  }
  const auto number = reader.integer(key, 1, std::numeric_limits<AsNumber>::max());
  if (!number) return std::nullopt;
  return static_cast<AsNumber>(*number);
}

std::optional<std::chrono::seconds> readSeconds(const cni::ConfigReader& reader,
                                                std::string_view key, std::int64_t min,
                                                std::int64_t max) {
  if (!reader.has(key)) return std::nullopt;
  const auto parsed = parseDuration(reader.string(key));
  if (parsed && parsed->count() >= min && parsed->count() <= max) return parsed;
  reader.problem(key, "is not a duration within " + std::to_string(min) + "s.." +
                          std::to_string(max) + "s, such as \"90s\" or \"2m\"");
  return std::nullopt;
}

std::optional<SecretKeyRef> readSecretKeyRef(const cni::ConfigReader& reader,
                                             std::string_view key) {
  if (!reader.has(key)) return std::nullopt;
  const cni::ConfigReader holder = reader.object(key);
  const cni::ConfigReader ref = holder.object("secretKeyRef");
  SecretKeyRef result{.name = ref.string("name"), .key = ref.string("key")};
  if (result.name.empty()) ref.problem("name", "is required");
  if (result.key.empty()) ref.problem("key", "is required");
  return result;
}

BfdOptions readBfd(const cni::ConfigReader& reader) {
  const cni::ConfigReader bfd = reader.object("bfd");
  BfdOptions options;
  options.enabled = bfd.boolean("enabled");
  options.intervalMs =
      static_cast<std::uint32_t>(bfd.integer("intervalMs", 10, 60'000).value_or(300));
  options.multiplier = static_cast<std::uint32_t>(bfd.integer("multiplier", 1, 255).value_or(3));
  options.passive = bfd.boolean("passive");
  return options;
}

std::optional<PrefixLimit> readPrefixLimit(const cni::ConfigReader& reader, std::string_view key) {
  if (!reader.has(key)) return std::nullopt;
  const cni::ConfigReader limit = reader.object(key);
  const auto prefixes = limit.integer("prefixes", 1, 10'000'000);
  const std::size_t action = readChoice(limit, "action", {kActions.begin(), kActions.end()}, 1);
  if (!limit.has("prefixes")) limit.problem("prefixes", "is required");
  if (!prefixes) return std::nullopt;
  return PrefixLimit{static_cast<std::uint32_t>(*prefixes), static_cast<LimitAction>(action)};
}

std::optional<GracefulRestart> readGracefulRestart(const cni::ConfigReader& reader) {
  if (!reader.has("gracefulRestart")) return std::nullopt;
  const cni::ConfigReader restart = reader.object("gracefulRestart");
  GracefulRestart result;
  result.enabled = restart.boolean("enabled", true);
  result.restartTime = readSeconds(restart, "restartTime", 1, 4095).value_or(result.restartTime);
  result.longLivedStaleTime =
      readSeconds(restart, "longLivedStaleTime", 0, 16'777'215).value_or(result.longLivedStaleTime);
  return result;
}

std::size_t readChoice(const cni::ConfigReader& reader, std::string_view key,
                       const std::vector<std::string_view>& allowed, std::size_t fallback) {
  const std::string value = reader.string(key);
  if (value.empty()) return fallback;
  const auto found = std::find(allowed.begin(), allowed.end(), value);
  if (found != allowed.end()) return static_cast<std::size_t>(found - allowed.begin());
  std::string list;
  for (const std::string_view each : allowed)
    list += (list.empty() ? "" : ", ") + std::string(each);
  reader.problem(key, "is not one of " + list);
  return fallback;
}

std::optional<IpPrefix> readNetwork(const cni::ConfigReader& reader, std::string_view key) {
  const auto prefix = reader.prefix(key);
  if (!prefix || prefix->network() == *prefix) return prefix;
  reader.problem(key, "has host bits set");
  return std::nullopt;
}

std::string readName(const cni::ConfigReader& object) {
  const cni::ConfigReader metadata = object.object("metadata");
  const std::string name = metadata.string("name");
  if (!isDnsSubdomain(name)) metadata.problem("name", "is not a DNS subdomain (RFC 1123)");
  return name;
}

}  // namespace culvert::objects
