#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cni/config_reader.h"
#include "daemons/objects/selector.h"

namespace culvert::objects {
namespace {

using Node = Selector::Node;
using Op = Selector::Op;

std::optional<Node> expressionNode(const cni::ConfigReader& reader) {
  const std::string op = reader.string("operator");
  Node node{.key = reader.string("key"), .values = reader.strings("values")};
  if (node.key.empty()) reader.problem("key", "is required");
  std::sort(node.values.begin(), node.values.end());
  if (op == "In" || op == "NotIn") {
    node.op = op == "In" ? Op::kIn : Op::kNotIn;
    if (node.values.empty()) reader.problem("values", "must not be empty for In and NotIn");
    return node;
  }
  if (op != "Exists" && op != "DoesNotExist") {
    reader.problem("operator", "is not In, NotIn, Exists or DoesNotExist");
    return std::nullopt;
  }
  if (!node.values.empty()) reader.problem("values", "must be empty for Exists and DoesNotExist");
  node.op = Op::kHas;
  return node;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

/// At commas outside parentheses.
std::vector<std::string_view> splitTerms(std::string_view text) {
  std::vector<std::string_view> terms;
  int depth = 0;
  std::size_t from = 0;
  for (std::size_t at = 0; at <= text.size(); ++at) {
    if (at == text.size() || (text[at] == ',' && depth == 0)) {
      terms.push_back(trimmed(text.substr(from, at - from)));
      from = at + 1;
    } else if (text[at] == '(' || text[at] == ')') {
      depth += text[at] == '(' ? 1 : -1;
    }
  }
  return terms;
}

bool isKey(std::string_view text) {
  return !text.empty() && text.find_first_of(" \t=!(),") == std::string_view::npos;
}

struct Term {
  Node node;
  bool negated = false;
};

/// KEY in (a, b) and KEY notin (a, b).
std::optional<Term> setTerm(std::string_view text, std::size_t paren) {
  if (!text.ends_with(')')) return std::nullopt;
  const std::string_view head = trimmed(text.substr(0, paren));
  const std::size_t space = std::min(head.find_first_of(" \t"), head.size());
  const std::string_view word = trimmed(head.substr(space));
  if (word != "in" && word != "notin") return std::nullopt;
  Node node{.op = word == "in" ? Op::kIn : Op::kNotIn, .key = std::string(head.substr(0, space))};
  for (const std::string_view value : splitTerms(text.substr(paren + 1, text.size() - paren - 2)))
    node.values.emplace_back(value);
  std::sort(node.values.begin(), node.values.end());
  return Term{std::move(node)};
}

Term equalityTerm(std::string_view text, std::size_t equal) {
  const bool differs = equal > 0 && text[equal - 1] == '!';
  const bool twice = text.substr(equal).starts_with("==");
  return {{.op = differs ? Op::kNotIn : Op::kIn,
           .key = std::string(trimmed(text.substr(0, equal - (differs ? 1 : 0)))),
           .values = {std::string(trimmed(text.substr(equal + (twice ? 2 : 1))))}}};
}

Result<Term> parseTerm(std::string_view text) {
  std::optional<Term> term;
  if (const std::size_t paren = text.find('('); paren != std::string_view::npos) {
    term = setTerm(text, paren);
  } else if (const std::size_t equal = text.find('='); equal != std::string_view::npos) {
    term = equalityTerm(text, equal);
  } else {
    const bool negated = text.starts_with('!');
    const std::string_view key = trimmed(text.substr(negated ? 1 : 0));
    term = {{.op = Op::kHas, .key = std::string(key)}, negated};
  }
  if (!term || !isKey(term->node.key))
    return makeError(Errc::kInvalidConfig, "not a selector: \"" + std::string(text) + "\"");
  return *std::move(term);
}

}  // namespace

/// Terms that all have to hold.
class Selector::Conjunction {
 public:
  void add(Node node, bool negated = false) {
    std::size_t index = push(std::move(node));
    if (negated) index = push({.op = Op::kNot, .children = {index}});
    all_.children.push_back(index);
  }

  Selector selector() {
    if (all_.children.empty()) return {};
    if (all_.children.size() == 1) return {std::move(nodes_), all_.children.front()};
    const std::size_t root = push(std::move(all_));
    return {std::move(nodes_), root};
  }

 private:
  std::size_t push(Node node) {
    nodes_.push_back(std::move(node));
    return nodes_.size() - 1;
  }

  std::vector<Node> nodes_;
  Node all_{.op = Op::kAnd};
};

Result<Selector> Selector::fromLabelSelector(const nlohmann::json& labelSelector) {
  cni::Problems problems;
  const cni::ConfigReader reader(labelSelector, "", problems);
  Conjunction all;
  for (const auto& [key, value] : reader.stringMap("matchLabels"))
    all.add({.op = Op::kIn, .key = key, .values = {value}});
  for (const cni::ConfigReader& expression : reader.objects("matchExpressions")) {
    if (auto node = expressionNode(expression))
      all.add(*std::move(node), expression.string("operator") == "DoesNotExist");
  }
  TRY(problems.take());
  return all.selector();
}

Result<Selector> Selector::fromQuery(std::string_view query) {
  if (query.size() > kMaxBytes)
    return makeError(Errc::kInvalidConfig, "a selector of over 16384 bytes");
  Conjunction all;
  if (trimmed(query).empty()) return all.selector();
  for (const std::string_view text : splitTerms(query)) {
    Term term = TRY(parseTerm(text));
    all.add(std::move(term.node), term.negated);
  }
  return all.selector();
}

}  // namespace culvert::objects
