#include "daemons/objects/selector.h"

#include <algorithm>
#include <utility>

namespace culvert::objects {
namespace {

using Node = Selector::Node;
using Op = Selector::Op;

/// What Calico's `global()` asks for: labelled with no namespace.
constexpr std::string_view kNamespaceLabel = "projectcalico.org/namespace";
constexpr std::size_t kMaxKeyBytes = 512;

bool isSpace(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool isKeyByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '/' || c == '-';
}

/// Recursive descent; each level of the grammar is one function, and `depth_` bounds the recursion.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::size_t> whole() {
    skipSpace();
    if (at_ == text_.size()) return add({.op = Op::kAll});
    const std::size_t root = TRY(disjunction());
    if (at_ != text_.size()) return unexpected("\"&&\", \"||\" or the end");
    return root;
  }

  std::vector<Node> takeNodes() { return std::move(nodes_); }

 private:
  Error wrong(std::size_t at, const std::string& what) const {
    return makeError(Errc::kInvalidConfig, "column " + std::to_string(at + 1) + ": " + what);
  }

  Error unexpected(const std::string& wanted) const {
    if (at_ == text_.size()) return wrong(at_, "ends where " + wanted + " is expected");
    return wrong(at_, wanted + " expected");
  }

  void skipSpace() {
    while (at_ < text_.size() && isSpace(text_[at_]))
      ++at_;
  }

  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    skipSpace();
    return true;
  }

  /// A word of letters, which must not go on.
  bool takeWord(std::string_view word) {
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with(word)) return false;
    if (rest.size() > word.size() && isKeyByte(rest[word.size()])) return false;
    return take(word);
  }

  std::size_t add(Node node) {
    nodes_.push_back(std::move(node));
    return nodes_.size() - 1;
  }

  Result<std::size_t> joined(Op op, std::string_view token, Result<std::size_t> (Parser::*part)()) {
    Node node{.op = op};
    do {
      node.children.push_back(TRY((this->*part)()));
    } while (take(token));
    return node.children.size() == 1 ? node.children.front() : add(std::move(node));
  }

  Result<std::size_t> disjunction() { return joined(Op::kOr, "||", &Parser::conjunction); }
  Result<std::size_t> conjunction() { return joined(Op::kAnd, "&&", &Parser::operand); }

  Result<std::size_t> operand() {
    if (depth_ == Selector::kMaxDepth) return wrong(at_, "nested too deeply");
    ++depth_;
    Result<std::size_t> inner = unlimitedOperand();
    --depth_;
    return inner;
  }

  Result<std::size_t> unlimitedOperand() {
    if (text_.substr(at_).starts_with("!") && take("!")) {
      const std::size_t inner = TRY(operand());
      return add({.op = Op::kNot, .children = {inner}});
    }
    if (!take("(")) return comparison();
    const std::size_t inner = TRY(disjunction());
    if (!take(")")) return unexpected("\")\"");
    return inner;
  }

  Result<std::size_t> comparison() {
    const std::string key = TRY(label());
    if (take("(")) return call(key);
    skipSpace();
    if (take("==")) return oneOf(Op::kIn, key);
    if (take("!=")) return oneOf(Op::kNotIn, key);
    if (takeWord("in")) return set(Op::kIn, key);
    if (takeWord("not")) {
      if (!takeWord("in")) return unexpected("\"in\"");
      return set(Op::kNotIn, key);
    }
    return textComparison(key);
  }

  Result<std::size_t> textComparison(const std::string& key) {
    if (takeWord("contains")) return oneOf(Op::kContains, key);
    const bool starts = takeWord("starts");
    if (!starts && !takeWord("ends"))
      return unexpected("a comparison (==, !=, in, not in, contains, starts with, ends with)");
    if (!takeWord("with")) return unexpected("\"with\"");
    return oneOf(starts ? Op::kStartsWith : Op::kEndsWith, key);
  }

  Result<std::size_t> oneOf(Op op, const std::string& key) {
    std::string value = TRY(quoted());
    return add({.op = op, .key = key, .values = {std::move(value)}});
  }

  Result<std::size_t> call(const std::string& name) {
    Node node;
    if (name == "has") {
      node = {.op = Op::kHas, .key = TRY(label())};
      skipSpace();
    } else if (name != "all" && name != "global") {
      return wrong(at_ - 1, "no function is called \"" + name + "\" (all, global, has)");
    }
    if (!take(")")) return unexpected("\")\"");
    if (name != "global") return add(std::move(node));
    const std::size_t has = add({.op = Op::kHas, .key = std::string(kNamespaceLabel)});
    return add({.op = Op::kNot, .children = {has}});
  }

  /// The bytes after it stay, spaces too, so that a "(" belongs to a function's name.
  Result<std::string> label() {
    const std::size_t start = at_;
    while (at_ < text_.size() && isKeyByte(text_[at_]))
      ++at_;
    if (at_ == start) return unexpected("a label's name");
    if (at_ - start > kMaxKeyBytes) return wrong(start, "a label's name of over 512 bytes");
    return std::string(text_.substr(start, at_ - start));
  }

  Result<std::string> quoted() {
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') return unexpected("a quoted string");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return wrong(at_, "a string that does not end");
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    skipSpace();
    return value;
  }

  Result<std::size_t> set(Op op, const std::string& key) {
    Node node{.op = op, .key = key};
    if (!take("{")) return unexpected("\"{\"");
    if (take("}")) return add(std::move(node));
    do {
      node.values.push_back(TRY(quoted()));
    } while (take(","));
    if (!take("}")) return unexpected("\",\" or \"}\"");
    std::sort(node.values.begin(), node.values.end());
    return add(std::move(node));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::vector<Node> nodes_;
};

std::string quotedText(const std::string& value) {
  const char quote = value.find('\'') == std::string::npos ? '\'' : '"';
  return quote + value + quote;
}

std::string setText(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values)
    text += (text.empty() ? "" : ", ") + quotedText(value);
  return "{" + text + "}";
}

bool holds(const Node& node, const std::string& value) {
  switch (node.op) {
    case Op::kIn:
      return std::binary_search(node.values.begin(), node.values.end(), value);
    case Op::kContains:
      return value.find(node.values.front()) != std::string::npos;
    case Op::kStartsWith:
      return value.starts_with(node.values.front());
    case Op::kEndsWith:
      return value.ends_with(node.values.front());
    default:
      return !std::binary_search(node.values.begin(), node.values.end(), value);
  }
}

}  // namespace

Selector::Selector() : nodes_(1) {}

Selector::Selector(std::vector<Node> nodes, std::size_t root)
    : nodes_(std::move(nodes)), root_(root) {}

Result<Selector> Selector::parse(std::string_view expression) {
  if (expression.size() > kMaxBytes)
    return makeError(Errc::kInvalidConfig, "a selector of over 16384 bytes");
  Parser parser(expression);
  const std::size_t root = TRY(parser.whole());
  return Selector(parser.takeNodes(), root);
}

bool Selector::evaluate(std::size_t index, const Labels& labels) const {
  const Node& node = nodes_[index];
  const auto child = [&](std::size_t each) { return evaluate(each, labels); };
  switch (node.op) {
    case Op::kAll:
      return true;
    case Op::kNot:
      return !child(node.children.front());
    case Op::kAnd:
      return std::all_of(node.children.begin(), node.children.end(), child);
    case Op::kOr:
      return std::any_of(node.children.begin(), node.children.end(), child);
    case Op::kHas:
      return labels.contains(node.key);
    default:
      break;
  }
  const auto found = labels.find(node.key);
  return found == labels.end() ? node.op == Op::kNotIn : holds(node, found->second);
}

bool Selector::comparesOnly(std::initializer_list<std::string_view> keys) const {
  return std::all_of(nodes_.begin(), nodes_.end(), [&](const Node& node) {
    if (node.op == Op::kAll || !node.children.empty()) return true;
    const bool compares = node.op == Op::kIn || node.op == Op::kNotIn;
    return compares && std::find(keys.begin(), keys.end(), node.key) != keys.end();
  });
}

std::string Selector::textOf(std::size_t index) const {
  const Node& node = nodes_[index];
  switch (node.op) {
    case Op::kAll:
      return "all()";
    case Op::kHas:
      return "has(" + node.key + ")";
    case Op::kNot:
      return "!" + textOf(node.children.front());
    case Op::kContains:
      return node.key + " contains " + quotedText(node.values.front());
    case Op::kStartsWith:
      return node.key + " starts with " + quotedText(node.values.front());
    case Op::kEndsWith:
      return node.key + " ends with " + quotedText(node.values.front());
    case Op::kIn:
      return node.key + " in " + setText(node.values);
    case Op::kNotIn:
      return node.key + " not in " + setText(node.values);
    default:
      break;
  }
  std::string text;
  for (const std::size_t child : node.children)
    text += (text.empty() ? "" : node.op == Op::kAnd ? " && " : " || ") + textOf(child);
  return "(" + text + ")";
}

}  // namespace culvert::objects
