#include "plugins/portmap/conditions.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "cni/environment.h"

namespace culvert::plugins {
namespace {

using nft::Op;
using nft::Statement;

enum class Subject { kSource, kDestination, kInterface };

struct Option {
  const char* word;
  Subject subject;
};
constexpr std::array kOptions{Option{"-s", Subject::kSource},
                              Option{"--source", Subject::kSource},
                              Option{"--src", Subject::kSource},
                              Option{"-d", Subject::kDestination},
                              Option{"--destination", Subject::kDestination},
                              Option{"--dst", Subject::kDestination},
                              Option{"-i", Subject::kInterface},
                              Option{"--in-interface", Subject::kInterface}};
constexpr std::array kNftWords{
    Option{"saddr", Subject::kSource}, Option{"daddr", Subject::kDestination},
    Option{"iifname", Subject::kInterface}, Option{"iif", Subject::kInterface}};

/// Words to be taken one by one.
class Words {
 public:
  explicit Words(const std::vector<std::string>& list) {
    for (const std::string& element : list) {
      std::istringstream in(element);
      for (std::string word; in >> word;)
        words_.push_back(word);
    }
  }
  bool atEnd() const { return at_ == words_.size(); }
  const std::string& peek() const { return words_[at_]; }
  std::string take() { return atEnd() ? std::string() : words_[at_++]; }
  bool takeIf(std::string_view word) {
    const bool is = !atEnd() && peek() == word;
    if (is) ++at_;
    return is;
  }

 private:
  std::vector<std::string> words_;
  std::size_t at_ = 0;
};

Error notUnderstood(const std::string& word, const char* why) {
  return makeError(Errc::kInvalidConfig, "\"" + word + "\" " + why);
}

Result<Statement> addressMatch(Subject subject, const std::string& text, Family family, Op op) {
  auto prefix = IpPrefix::parse(text);
  if (!prefix) {
    if (const auto address = IpAddress::parse(text)) prefix = IpPrefix::host(*address);
  }
  if (!prefix) return notUnderstood(text, "is no address and no CIDR");
  if (prefix->family() != family) return notUnderstood(text, "is of the other address family");
  const nft::Field& field = subject == Subject::kSource ? nft::saddr(family) : nft::daddr(family);
  return Statement(nft::InPrefix{field, *prefix, op});
}

Result<Statement> interfaceMatch(std::string text, Op op) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    text = text.substr(1, text.size() - 2);
  const bool isPrefix = text.size() > 1 && (text.back() == '+' || text.back() == '*');
  if (isPrefix) text.pop_back();
  if (const auto why = cni::interfaceNameProblem(text))
    return makeError(Errc::kInvalidConfig, "\"" + text + "\" is no interface name: it " + *why);
  const auto value = isPrefix ? nft::Value::ifNamePrefix(text) : nft::Value::ifName(text);
  return Statement(nft::Compare{nft::meta::kIifName, value, op});
}

Result<Statement> match(Subject subject, const std::string& text, Family family, Op op) {
  if (text.empty()) return makeError(Errc::kInvalidConfig, "a value is missing at the end");
  if (subject == Subject::kInterface) return interfaceMatch(text, op);
  return addressMatch(subject, text, family, op);
}

template <std::size_t kCount>
const Option* find(const std::array<Option, kCount>& options, const std::string& word) {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const Option& option) { return word == option.word; });
  return found == options.end() ? nullptr : found;
}

/// `[!] -s [!] 10.0.0.0/8`
Result<Statement> parseIptables(Words& words, Family family) {
  bool negated = words.takeIf("!");
  const std::string word = words.take();
  const Option* option = find(kOptions, word);
  if (option == nullptr) {
    return notUnderstood(word,
                         "is none of the matches -s, -d and -i, which are what a mapping can be "
                         "limited to");
  }
  negated = words.takeIf("!") || negated;
  return match(option->subject, words.take(), family, negated ? Op::kNotEqual : Op::kEqual);
}

/// `[ip] saddr [!=] 10.0.0.0/8`, `[meta] iifname "eth0"`
Result<Statement> parseNft(Words& words, Family family) {
  static_cast<void>(words.takeIf(family == Family::kV4 ? "ip" : "ip6") || words.takeIf("meta"));
  const std::string word = words.take();
  const Option* option = find(kNftWords, word);
  if (option == nullptr) {
    return notUnderstood(word,
                         "is none of the matches saddr, daddr and iifname, which are what a "
                         "mapping can be limited to");
  }
  const bool negated = words.takeIf("!=") || words.takeIf("ne");
  if (!negated) static_cast<void>(words.takeIf("==") || words.takeIf("eq"));
  return match(option->subject, words.take(), family, negated ? Op::kNotEqual : Op::kEqual);
}

}  // namespace

Result<std::vector<Statement>> parseConditions(const std::vector<std::string>& list, Family family,
                                               Syntax syntax) {
  Words words(list);
  std::vector<Statement> statements;
  while (!words.atEnd()) {
    const bool isIptables = words.peek().front() == '-' || words.peek().front() == '!';
    if (isIptables && syntax == Syntax::kNft)
      return notUnderstood(words.peek(), "is iptables' word, but \"backend\" is nftables");
    if (!isIptables && syntax == Syntax::kIptables)
      return notUnderstood(words.peek(), "is nft's word, but \"backend\" is iptables");
    statements.push_back(TRY(isIptables ? parseIptables(words, family) : parseNft(words, family)));
  }
  return statements;
}

}  // namespace culvert::plugins
