#include "daemons/services/packet_tracer.h"

#include <linux/netfilter.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace culvert::services::test {
namespace {

using nft::Hook;
using nft::Value;
using Source = nft::Field::Source;

constexpr std::uint32_t kStateNew = 0x8;     // NF_CT_STATE_BIT(IP_CT_NEW)
constexpr std::uint32_t kStatusDnat = 0x20;  // IPS_DST_NAT
constexpr std::size_t kRegisterBytes = 4;
constexpr std::size_t kJumpsMax = 16;  // NFT_JUMP_STACK_SIZE

/// Random numbers for one run after another, until all have come up.
class Dice {
 public:
  std::uint32_t roll(std::uint32_t sides) {
    if (next_ == rolls_.size()) rolls_.push_back({0, sides});
    return rolls_[next_++].first;
  }
  /// The next combination; false: that was the last one.
  bool advance() {
    next_ = 0;
    while (!rolls_.empty() && ++rolls_.back().first == rolls_.back().second)
      rolls_.pop_back();
    return !rolls_.empty();
  }

 private:
  std::vector<std::pair<std::uint32_t, std::uint32_t>> rolls_;
  std::size_t next_ = 0;
};

/// A packet on its way, with its connection.
struct State {
  Packet original;
  IpAddress destination;
  std::uint16_t port = 0;
  bool masquerade = false, reset = false;

  Family family() const { return original.to.family(); }
  bool isTranslated() const { return destination != original.to || port != original.port; }
};

enum class Step : std::uint8_t { kContinue, kAccept, kDrop, kReject, kTranslated };

/// One run through all hooks, with given random numbers.
class Run {
 public:
  Run(const Ruleset& ruleset, const std::set<IpAddress>& local, Dice& dice, Trace& trace)
      : ruleset_(ruleset), local_(local), dice_(dice), trace_(trace) {}

  Fate follow(const Packet& packet) {
    state_ = {packet, packet.to, packet.port};
    for (const Hook::Point point : path()) {
      const std::optional<Fate> ended = cross(point);
      if (ended) return *ended;
    }
    const Fate fate{Verdict::Kind::kForward, {state_.destination, state_.port}, state_.masquerade};
    return state_.isTranslated() ? fate : Fate{Verdict::Kind::kNotOurs, {}, state_.masquerade};
  }

 private:
  bool isLocal(const IpAddress& address) const { return local_.count(address) != 0; }

  /// Where it comes by; the way behind the first hook is looked for when it has been translated.
  std::vector<Hook::Point> path() const {
    if (state_.original.origin == Origin::kHost)
      return {Hook::Point::kOutput, Hook::Point::kPostrouting};
    return {Hook::Point::kPrerouting, Hook::Point::kForward, Hook::Point::kPostrouting};
  }

  std::optional<Fate> cross(Hook::Point point) {
    const bool stays = state_.original.origin != Origin::kHost && isLocal(state_.destination);
    if (stays && point == Hook::Point::kForward) point = Hook::Point::kInput;
    if (stays && point == Hook::Point::kPostrouting) return std::nullopt;
    for (const Ruleset::ChainState* chain : hooked(point)) {
      switch (walk(*chain)) {
        case Step::kDrop:
          return Fate{Verdict::Kind::kDrop, {}, false};
        case Step::kReject:
          return rejected();
        case Step::kContinue:
        case Step::kAccept:
        case Step::kTranslated:
          break;
      }
    }
    return std::nullopt;
  }

  /// A reset answers TCP only; who asks for one for anything else just drops. And a TCP client that
  /// gets an ICMP message may try again.
  Fate rejected() const {
    const bool isTcp = state_.original.protocol == Protocol::kTcp;
    return {state_.reset == isTcp ? Verdict::Kind::kReject : Verdict::Kind::kDrop, {}, false};
  }

  std::vector<const Ruleset::ChainState*> hooked(Hook::Point point) const {
    std::vector<const Ruleset::ChainState*> chains;
    for (const auto& [name, chain] : ruleset_.chains) {
      if (chain.chain.hook && chain.chain.hook->point == point) chains.push_back(&chain);
    }
    std::stable_sort(chains.begin(), chains.end(), [](const auto* a, const auto* b) {
      return a->chain.hook->priority < b->chain.hook->priority;
    });
    return chains;
  }

  const Ruleset::ChainState& chainNamed(const std::string& name) const {
    return ruleset_.chains.at(name);
  }

  /// From a base chain until it has been decided.
  Step walk(const Ruleset::ChainState& base) {
    std::vector<std::pair<const Ruleset::ChainState*, std::size_t>> stack{{&base, 0}};
    while (!stack.empty()) {
      auto& [chain, index] = stack.back();
      if (index == chain->rules.size()) {
        stack.pop_back();
        continue;
      }
      const nft::Rule& rule = chain->rules[index++];
      std::optional<nft::Verdict> verdict;
      const Step end = run(rule, verdict);
      if (end != Step::kContinue) return end;
      if (!verdict) continue;
      if (verdict->code == nft::Verdict::Code::kReturn ||
          verdict->code == nft::Verdict::Code::kGoto)
        stack.pop_back();
      if (!verdict->chain.empty()) stack.emplace_back(&chainNamed(verdict->chain), 0);
      if (stack.size() > kJumpsMax) throw std::logic_error("too many jumps in " + rule.comment);
    }
    return base.chain.hook->policy == Hook::Policy::kDrop ? Step::kDrop : Step::kAccept;
  }

  /// Statements from left to right until one does not match, or decides.
  Step run(const nft::Rule& rule, std::optional<nft::Verdict>& verdict) {
    for (const nft::Statement& statement : rule.statements) {
      matched_ = true;
      const Step end =
          std::visit([&](const auto& one) { return execute(one, verdict); }, statement);
      if (end != Step::kContinue || verdict) return end;
      if (!matched_) return Step::kContinue;
    }
    return Step::kContinue;
  }

  using Out = std::optional<nft::Verdict>&;

  Step execute(const nft::Compare& compare, Out) {
    const auto value = load(compare.what);
    matched_ = value && (*value == compare.value) == (compare.op == nft::Op::kEqual);
    return Step::kContinue;
  }
  Step execute(const nft::InPrefix& match, Out) {
    const auto value = load(match.field);
    matched_ = value && match.prefix.contains(value->address(match.prefix.family())) ==
                            (match.op == nft::Op::kEqual);
    return Step::kContinue;
  }
  Step execute(const nft::InSet& match, Out) {
    const auto key = load(match.key);
    matched_ = key && (find(match.set, *key) != nullptr) == (match.op == nft::Op::kEqual);
    return Step::kContinue;
  }
  Step execute(const nft::HasBits& match, Out) {
    const auto value = load(match.field);
    matched_ = value && (value->mark() & match.bits) != 0;
    return Step::kContinue;
  }
  Step execute(const nft::Verdict& is, Out verdict) { return decide(is, verdict); }
  Step execute(const nft::VerdictMap& map, Out verdict) {
    const auto key = load(map.key);
    const nft::Element* element = key ? find(map.map, *key) : nullptr;
    matched_ = element != nullptr;
    return matched_ ? decide(std::get<nft::Verdict>(element->data), verdict) : Step::kContinue;
  }
  Step execute(const nft::DnatMap& map, Out) {
    const auto key = load(map.key);
    const nft::Element* element = key ? find(map.map, *key) : nullptr;
    matched_ = element != nullptr;
    if (!matched_) return Step::kContinue;
    const auto fields = std::get<Value>(element->data)
                            .split({nft::addressType(map.family), nft::DataType::kInetService});
    state_.destination = fields.at(0).address(map.family);
    state_.port = fields.at(1).port();
    return Step::kTranslated;
  }
  Step execute(const nft::Masquerade&, Out) {
    state_.masquerade = true;
    return Step::kTranslated;
  }
  Step execute(const nft::Reject& reject, Out) {
    state_.reset = reject.tcpReset;
    return Step::kReject;
  }
  Step execute(const nft::Update& update, Out) {
    const auto key = load(update.key), data = load(update.data);
    matched_ = key && data;
    if (matched_) trace_.updates.insert({update.set, {*key, *data}});
    return Step::kContinue;
  }
  Step execute(const nft::Counter&, Out) { return Step::kContinue; }
  template <class Unknown>
  Step execute(const Unknown&, Out) {
    throw std::logic_error("the tracer does not know a statement");
  }

  static Step decide(const nft::Verdict& is, Out verdict) {
    if (is.code == nft::Verdict::Code::kDrop) return Step::kDrop;
    if (is.code == nft::Verdict::Code::kAccept) return Step::kAccept;
    verdict = is;
    return Step::kContinue;
  }

  const nft::Element* find(const std::string& set, const Value& key) const {
    const auto& elements = ruleset_.sets.at(set).elements;
    const auto element = elements.find(key);
    return element == elements.end() ? nullptr : &element->second;
  }

  /// A single field as it is; several each fill whole registers. None: the packet has no such.
  std::optional<Value> load(const nft::Key& key) {
    if (key.size() == 1) return load(key.front());
    std::string bytes;
    for (const nft::Operand& operand : key) {
      const auto value = load(operand);
      if (!value) return std::nullopt;
      bytes += value->bytes();
      bytes.resize((bytes.size() + kRegisterBytes - 1) / kRegisterBytes * kRegisterBytes);
    }
    return Value(bytes.data(), bytes.size());
  }

  std::optional<Value> load(const nft::Operand& operand) {
    if (operand.field.source == Source::kRandom) return Value::mark(dice_.roll(operand.modulus));
    if (!has(operand.field.needs)) return std::nullopt;
    std::optional<Value> value = read(operand.field);
    if (!value || operand.mask.empty()) return value;
    std::string bytes = value->bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<char>(bytes[i] & operand.mask.bytes().at(i));
    return Value(bytes.data(), bytes.size());
  }

  bool has(nft::Needs needs) const {
    switch (needs) {
      case nft::Needs::kNothing:
        return true;
      case nft::Needs::kIp:
        return state_.family() == Family::kV4;
      case nft::Needs::kIp6:
        return state_.family() == Family::kV6;
      case nft::Needs::kTcp:
        return state_.original.protocol == Protocol::kTcp;
      case nft::Needs::kUdp:
        return state_.original.protocol == Protocol::kUdp;
      case nft::Needs::kEther:
        break;
    }
    throw std::logic_error("the tracer knows no Ethernet");
  }

  /// Fields are told apart by their text, which is what nft calls them.
  std::optional<Value> read(const nft::Field& field) const {
    const std::string_view text = field.text;
    if (text == "meta nfproto")
      return Value::protocol(state_.family() == Family::kV4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
    if (text == "meta l4proto")
      return Value::protocol(static_cast<std::uint8_t>(state_.original.protocol));
    if (text == "ip saddr" || text == "ip6 saddr") return Value(state_.original.from);
    if (text == "ip daddr" || text == "ip6 daddr") return Value(state_.destination);
    if (text == "th dport" || text == "tcp dport" || text == "udp dport")
      return Value::port(state_.port);
    if (text == "ct state") return Value::mark(kStateNew);
    if (text == "ct status") return Value::mark(state_.isTranslated() ? kStatusDnat : 0);
    if (text == "ct original proto-dst") return Value::port(state_.original.port);
    if (text == "ct original ip daddr") return original(Family::kV4);
    if (text == "ct original ip6 daddr") return original(Family::kV6);
    if (text == "fib saddr type")
      return Value::mark(isLocal(state_.original.from) ? RTN_LOCAL : RTN_UNICAST);
    if (text == "fib daddr type")
      return Value::mark(isLocal(state_.destination) ? RTN_LOCAL : RTN_UNICAST);
    throw std::logic_error("the tracer does not know " + std::string(text));
  }

  std::optional<Value> original(Family family) const {
    if (state_.family() != family) return std::nullopt;
    return Value(state_.original.to);
  }

  const Ruleset& ruleset_;
  const std::set<IpAddress>& local_;
  Dice& dice_;
  Trace& trace_;
  State state_;
  bool matched_ = true;
};

}  // namespace

std::string textOf(const Fate& fate) {
  const std::string masquerade = fate.masquerade ? " +m" : "";
  switch (fate.kind) {
    case Verdict::Kind::kDrop:
      return "DROP";
    case Verdict::Kind::kReject:
      return "REJECT";
    case Verdict::Kind::kNotOurs:
      return "-" + masquerade;
    case Verdict::Kind::kForward:
      break;
  }
  const std::string address = fate.to.address.text();
  const bool v6 = fate.to.address.family() == Family::kV6;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(fate.to.port) + masquerade;
}

std::string textOf(const std::set<Fate>& fates) {
  std::string all;
  for (const Fate& fate : fates)
    all += (all.empty() ? "" : ", ") + textOf(fate);
  return all;
}

std::set<Fate> fatesOf(const Verdict& verdict, const Packet& packet) {
  if (verdict.kind != Verdict::Kind::kForward) return {Fate{verdict.kind, {}, false}};
  std::set<Fate> fates;
  for (const Backend& backend : verdict.to)
    fates.insert(
        {verdict.kind, {backend.address, backend.port}, verdict.masqueradesFor(packet, backend)});
  return fates;
}

Trace trace(const Ruleset& ruleset, const std::set<IpAddress>& local, const Packet& packet) {
  Trace all;
  Dice dice;
  do {
    all.fates.insert(Run(ruleset, local, dice, all).follow(packet));
  } while (dice.advance());
  return all;
}

}  // namespace culvert::services::test
