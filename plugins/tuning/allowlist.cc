#include "plugins/tuning/allowlist.h"

#include <regex.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "base/file.h"

namespace culvert::plugins {
namespace {

constexpr std::size_t kMaxFileBytes = 65536;
constexpr std::size_t kMaxPatternBytes = 512;
constexpr long kMaxRepetition = 1000;  // RE2's, and Go's

Error badPattern(const std::string& pattern, const std::string& why) {
  return makeError(Errc::kInvalidConfig,
                   std::string(kAllowlistFile) + ": \"" + pattern + "\" " + why);
}

/// Go's syntax as POSIX has it: \d, classes with escapes, (?:. Everything else of Go's own is
/// refused, not misread.
class Translation {
 public:
  explicit Translation(const std::string& pattern) : in_(pattern) {}

  Result<std::string> run() {
    if (in_.size() > kMaxPatternBytes) return refuse("is too long");
    for (; at_ < in_.size(); ++at_) {
      switch (in_[at_]) {
        case '\\':
          TRY(escape());
          break;
        case '[':
          TRY(characterClass());
          break;
        case '(':
          TRY(group());
          break;
        case '{':
          TRY(repetition());
          break;
        default:
          out_ += in_[at_];
      }
    }
    return out_;
  }

 private:
  Error refuse(const std::string& why) const { return badPattern(in_.substr(0, 64), why); }
  char peek(std::size_t ahead = 1) const {
    return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0';
  }

  Result<void> escape() {
    const char next = peek();
    ++at_;
    if (next >= '0' && next <= '9') return refuse("has a back-reference");
    if (next == '\0') return refuse("ends in a backslash");
    out_ += next == 'd' ? "[0-9]" : std::string{'\\', next};
    return {};
  }

  /// In POSIX a backslash is an ordinary member of a class.
  Result<void> characterClass() {
    out_ += '[';
    if (peek() == '^') out_ += in_[++at_];
    if (peek() == ']') out_ += in_[++at_];
    while (peek() != ']') {
      const char c = peek();
      if (c == '\0') return refuse("has a class without an end");
      ++at_;
      if (c != '\\') {
        out_ += c;
        continue;
      }
      const char next = peek();
      ++at_;
      if (next == 'd' || next == 'w') {
        out_ += next == 'd' ? "0-9" : "A-Za-z0-9_";
      } else if (std::string_view("./_:").find(next) != std::string_view::npos) {
        out_ += next;
      } else {
        return refuse("has an escape in a class that is not known here");
      }
    }
    out_ += in_[++at_];
    return {};
  }

  Result<void> group() {
    out_ += '(';
    if (peek() != '?') return {};
    if (peek(2) != ':') return refuse("has a group with flags");
    at_ += 2;
    return {};
  }

  /// "{m}", "{m,}", "{m,n}": what nested ones multiply to is bounded, as in RE2.
  Result<void> repetition() {
    long largest = 1;
    for (std::size_t i = at_ + 1; i < in_.size() && in_[i] != '}'; ++i) {
      long number = 0;
      const auto parsed = std::from_chars(&in_[i], in_.data() + in_.size(), number);
      if (parsed.ec == std::errc::result_out_of_range) number = kMaxRepetition + 1;
      largest = std::max(largest, number);
    }
    repeated_ *= std::min(largest, kMaxRepetition + 1);
    if (repeated_ > kMaxRepetition) return refuse("repeats too often");
    out_ += '{';
    return {};
  }

  const std::string& in_;
  std::size_t at_ = 0;
  std::string out_;
  long repeated_ = 1;
};

Result<bool> matches(const std::string& pattern, const std::string& key) {
  const std::string posix = TRY(Translation(pattern).run());
  regex_t compiled{};
  const int failure = ::regcomp(&compiled, posix.c_str(), REG_EXTENDED | REG_NOSUB);
  if (failure != 0) {
    std::array<char, 128> words{};
    ::regerror(failure, &compiled, words.data(), words.size());
    return badPattern(pattern, std::string("is no regular expression: ") + words.data());
  }
  const bool found = ::regexec(&compiled, key.c_str(), 0, nullptr, 0) == 0;
  ::regfree(&compiled);
  return found;
}

std::string trimmed(const std::string& line) {
  const std::size_t first = line.find_first_not_of(" \t\r\v\f");
  if (first == std::string::npos) return "";
  return line.substr(first, line.find_last_not_of(" \t\r\v\f") + 1 - first);
}

}  // namespace

Allowlist Allowlist::parse(const std::string& text) {
  Allowlist list;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    std::string pattern = trimmed(text.substr(start, end - start));
    if (!pattern.empty()) list.patterns_.push_back(std::move(pattern));
    start = end + 1;
  }
  return list;
}

Result<std::optional<Allowlist>> Allowlist::read(const std::string& file) {
  const auto text = readFile(file, kMaxFileBytes);
  if (!text && text.error().code == Errc::kNotFound) return std::optional<Allowlist>();
  if (!text) return text.error();
  return std::optional(parse(*text));
}

Result<void> Allowlist::permits(const std::string& key) const {
  std::string all;
  for (const std::string& pattern : patterns_) {
    if (TRY(matches(pattern, key))) return {};
    all += (all.empty() ? "" : " ") + pattern;
  }
  return makeError(Errc::kInvalidConfig, "sysctl." + key + ": is not allowed on this node",
                   "only the following sysctls are allowed: [" + all + "]");
}

}  // namespace culvert::plugins
