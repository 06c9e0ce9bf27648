#include <algorithm>

#include "netlink/nft.h"

/// Everything as nft(8) reads it.
namespace culvert::nft {
namespace {

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;  // clang 14 does not deduce it

std::string quotedComment(const std::string& comment) {
  return comment.empty() ? "" : " comment \"" + comment + '"';
}

std::string toText(const Operand& operand) {
  if (operand.modulus != 0)
    return std::string(operand.field.text) + " mod " + std::to_string(operand.modulus);
  if (operand.mask.empty()) return operand.field.text;
  return std::string(operand.field.text) + " & " + toText({operand.field.type}, operand.mask);
}

std::string toText(const Key& key) {
  std::string text;
  for (const Operand& operand : key)
    text += (text.empty() ? "" : " . ") + toText(operand);
  return text;
}

const char* notEqual(Op op) {
  return op == Op::kNotEqual ? "!= " : "";
}

std::string toText(const Masquerade& masquerade) {
  std::string text = "masquerade";
  if (masquerade.random) text += " random";
  if (masquerade.fullyRandom) text += masquerade.random ? ",fully-random" : " fully-random";
  return text;
}

std::string toText(const Nat& nat) {
  const bool v4 = nat.address.family() == Family::kV4;
  std::string text = nat.kind == Nat::Kind::kSource ? "snat " : "dnat ";
  text += v4 ? "ip to " : "ip6 to ";
  if (!nat.port) return text + nat.address.text();
  text += v4 ? nat.address.text() : '[' + nat.address.text() + ']';
  return text + ':' + std::to_string(*nat.port);
}

std::string toText(const Compare& compare) {
  const char* op = compare.op == Op::kNotEqual ? " != " : compare.what.mask.empty() ? " " : " == ";
  return toText(compare.what) + op + toText({compare.what.field.type}, compare.value);
}

std::string toText(const Update& update) {
  std::string text = "update @" + update.set + " { " + toText(update.key) + " timeout " +
                     std::to_string(update.timeout.count()) + 's';
  if (!update.data.empty()) text += " : " + toText(update.data);
  return text + " }";
}

std::string toText(const Statement& statement) {
  return std::visit(
      Overloaded{
          [](const Compare& s) { return toText(s); },
          [](const InPrefix& s) {
            return std::string(s.field.text) + ' ' + notEqual(s.op) + s.prefix.network().text();
          },
          [](const InSet& s) { return toText(s.key) + ' ' + notEqual(s.op) + '@' + s.set; },
          [](const VerdictMap& s) { return toText(s.key) + " vmap @" + s.map; },
          [](const HasBits& s) { return std::string(s.field.text) + ' ' + s.names; },
          [](const Counter&) { return std::string("counter"); },
          [](const NoTrack&) { return std::string("notrack"); },
          [](const SetMark& s) {
            return std::string(s.field.text) + " set " +
                   toText({s.field.type}, Value::mark(s.mark));
          },
          [](const MarkBits& s) {
            const std::uint32_t operand = s.on ? s.bits : ~s.bits;
            return std::string("meta mark set meta mark ") + (s.on ? "| " : "& ") +
                   toText({DataType::kMark}, Value::mark(operand));
          },
          [](const Masquerade& s) { return toText(s); },
          [](const Nat& s) { return toText(s); },
          [](const DnatMap& s) {
            return std::string(s.family == Family::kV4 ? "dnat ip to " : "dnat ip6 to ") +
                   toText(s.key) + " map @" + s.map;
          },
          [](const Update& s) { return toText(s); },
          [](const Reject& s) {
            return std::string(s.tcpReset ? "reject with tcp reset" : "reject");
          },
          [](const Verdict& s) { return nft::toText(s); },
      },
      statement);
}

std::string toText(const Hook& hook) {
  static constexpr const char* kTypes[] = {"filter", "nat", "route"};
  static constexpr const char* kPoints[] = {"prerouting", "input", "forward", "output",
                                            "postrouting"};
  return std::string("type ") + kTypes[static_cast<std::size_t>(hook.type)] + " hook " +
         kPoints[static_cast<std::size_t>(hook.point)] + " priority " +
         std::to_string(hook.priority) + "; policy " +
         (hook.policy == Hook::Policy::kAccept ? "accept" : "drop") + ';';
}

std::string bodyOf(const Set& set) {
  std::string text = " { type " + toText(set.key);
  if (!set.data.empty()) text += " : " + toText(set.data);
  text += ';';
  if (set.dynamicMax != 0)
    text += " size " + std::to_string(set.dynamicMax) + "; flags dynamic,timeout;";
  if (set.hasTimeout && set.dynamicMax == 0) text += " flags timeout;";
  if (!set.comment.empty()) text += quotedComment(set.comment) + ';';
  return text + " }";
}

const char* kindOf(const Set& set) {
  return set.data.empty() ? "set " : "map ";
}

/// `: 10.0.0.1 . 80`, `: goto x`, or nothing.
std::string dataText(const Set& set, const Element& element) {
  if (const auto* value = std::get_if<Value>(&element.data))
    return " : " + toText(set.data, *value);
  if (const auto* verdict = std::get_if<Verdict>(&element.data)) return " : " + toText(*verdict);
  return "";
}

using Verb = Transaction::Verb;

const char* verbText(Verb verb) {
  static constexpr const char* kVerbs[] = {"add ",    "create ", "insert ",
                                           "delete ", "flush ",  "add "};
  return kVerbs[static_cast<std::size_t>(verb)];
}

std::string chainText(const Chain& chain) {
  return toText(chain.table) + ' ' + chain.name;
}

std::string setText(const Set& set) {
  return toText(set.table) + ' ' + set.name;
}

bool declares(Verb verb) {
  return verb == Verb::kAdd || verb == Verb::kCreate;
}

std::string operationText(Verb verb, const Transaction::RuleOf& what) {
  std::string text = verbText(verb) + ("rule " + chainText(what.chain)) + ' ';
  if (verb == Verb::kRemove) return text + "handle " + std::to_string(what.handle);
  return text + toText(what.rule);
}

std::string operationText(Verb verb, const Transaction::ElementsOf& what, std::size_t elementsMax) {
  std::string text = verbText(verb) + ("element " + setText(what.set)) + " { ";
  const std::size_t shown = std::min(elementsMax, what.elements.size());
  for (std::size_t i = 0; i < shown; ++i) {
    if (i != 0) text += ", ";
    const Element& element = what.elements[i];
    text += verb == Verb::kRemove ? toText(what.set.key, element.key) : toText(what.set, element);
  }
  if (shown < what.elements.size()) {
    text += ", ... " + std::to_string(what.elements.size() - shown) + " more";
  }
  return text + " }";
}

}  // namespace

std::string toText(const Verdict& verdict) {
  switch (verdict.code) {
    case Verdict::Code::kDrop:
      return "drop";
    case Verdict::Code::kAccept:
      return "accept";
    case Verdict::Code::kJump:
      return "jump " + verdict.chain;
    case Verdict::Code::kGoto:
      return "goto " + verdict.chain;
    case Verdict::Code::kReturn:
      return "return";
  }
  return "<invalid>";
}

std::string toText(const Rule& rule) {
  std::string text;
  for (const Statement& statement : rule.statements)
    text += (text.empty() ? "" : " ") + toText(statement);
  return text + quotedComment(rule.comment);
}

std::string toText(const Table& table) {
  switch (table.family) {
    case TableFamily::kInet:
      return "inet " + table.name;
    case TableFamily::kIp:
      return "ip " + table.name;
    case TableFamily::kNetdev:
      return "netdev " + table.name;
    case TableFamily::kBridge:
      return "bridge " + table.name;
    case TableFamily::kIp6:
      return "ip6 " + table.name;
  }
  return "<invalid>";
}

std::string toText(const Set& set, const Element& element) {
  std::string text = toText(set.key, element.key);
  if (element.timeout.count() != 0)
    text += " timeout " + std::to_string(element.timeout.count()) + "ms";
  return text + quotedComment(element.comment) + dataText(set, element);
}

std::string toText(const Transaction::Operation& operation, std::size_t elementsMax) {
  const Verb verb = operation.verb;
  return std::visit(Overloaded{
                        [&](const Table& table) {
                          return verbText(verb) + ("table " + toText(table)) +
                                 (verb == Verb::kOwn ? " { flags owner, persist; }" : "");
                        },
                        [&](const Chain& chain) {
                          const bool withHook = chain.hook && declares(verb);
                          return verbText(verb) + ("chain " + chainText(chain)) +
                                 (withHook ? " { " + toText(*chain.hook) + " }" : "");
                        },
                        [&](const Transaction::RuleOf& rule) { return operationText(verb, rule); },
                        [&](const Set& set) {
                          return verbText(verb) + (kindOf(set) + setText(set)) +
                                 (declares(verb) ? bodyOf(set) : "");
                        },
                        [&](const Transaction::ElementsOf& elements) {
                          return operationText(verb, elements, elementsMax);
                        },
                    },
                    operation.what);
}

std::string Transaction::toText() const {
  std::string text;
  for (const Operation& operation : operations_)
    text += nft::toText(operation) + '\n';
  return text;
}

std::map<std::string, std::size_t> countRules(const Transaction& transaction) {
  std::map<std::string, std::size_t> counts;
  for (const Transaction::Operation& operation : transaction.operations()) {
    if (operation.verb != Transaction::Verb::kAdd) continue;
    if (const auto* chain = std::get_if<Chain>(&operation.what)) counts[chain->name] += 0;
    if (const auto* rule = std::get_if<Transaction::RuleOf>(&operation.what))
      ++counts[rule->chain.name];
  }
  return counts;
}

void Transaction::append(Transaction other) {
  operations_.insert(operations_.end(), std::make_move_iterator(other.operations_.begin()),
                     std::make_move_iterator(other.operations_.end()));
}

void Transaction::push(Verb verb, const Set& set, Element element) {
  if (!operations_.empty() && operations_.back().verb == verb) {
    auto* last = std::get_if<ElementsOf>(&operations_.back().what);
    if (last != nullptr && last->set.name == set.name && last->set.table == set.table) {
      last->elements.push_back(std::move(element));
      return;
    }
  }
  operations_.push_back({verb, ElementsOf{set, {}}});
  std::get<ElementsOf>(operations_.back().what).elements.push_back(std::move(element));
}

}  // namespace culvert::nft
