#include "daemons/services/layout.h"

#include <algorithm>
#include <array>
#include <limits>

namespace culvert::services::layout {
namespace {

using nft::DataType;
using nft::Hook;
using nft::Key;
using nft::Transaction;

constexpr std::uint32_t kClientsMax = 1U << 20;  // of a port with session affinity
constexpr Family kFamilies[] = {Family::kV4, Family::kV6};

std::string suffix(Family family) {
  return family == Family::kV4 ? "_ipv4" : "_ipv6";
}

/// "outside_node_ports_ipv4"
std::string nameOf(const Place& place, const std::string& what) {
  return (place.outside ? "outside_" : "") + what + (place.node ? "_node" : "") +
         suffix(place.family);
}

nft::TypeList keyTypes(const Place& place) {
  if (place.node) return {DataType::kInetProto, DataType::kInetService};
  return {nft::addressType(place.family), DataType::kInetProto, DataType::kInetService};
}

nft::TypeList with(nft::TypeList types, DataType another) {
  types.push_back(another);
  return types;
}

nft::Set setOf(const Place& place, const std::string& what) {
  return {table(), nameOf(place, what), keyTypes(place)};
}

std::size_t indexOf(Family family) {
  return family == Family::kV4 ? 0 : 1;
}

/// A set for each place, made once: they are looked up for every element of every frontend.
class SetByPlace {
 public:
  explicit SetByPlace(const std::string& what, nft::TypeList data = {}) {
    for (const Place& place : allPlaces()) {
      sets_.push_back(setOf(place, what));
      sets_.back().data = data;
    }
  }
  template <class Adapt>
  SetByPlace(const std::string& what, Adapt adapt) : SetByPlace(what) {
    for (const Place& place : allPlaces())
      adapt(place, sets_[indexOf(place)]);
  }
  const nft::Set& of(const Place& place) const { return sets_[indexOf(place)]; }

 private:
  static std::size_t indexOf(const Place& place) {  // as in allPlaces()
    return layout::indexOf(place.family) * 4 + (place.node ? 2 : 0) + (place.outside ? 1 : 0);
  }
  std::vector<nft::Set> sets_;
};

/// A set for each family.
template <class Types>
std::array<nft::Set, 2> setByFamily(const std::string& what, Types keyOf) {
  return {nft::Set{table(), what + suffix(Family::kV4), keyOf(Family::kV4)},
          nft::Set{table(), what + suffix(Family::kV6), keyOf(Family::kV6)}};
}

nft::Value protocolValue(const At& at) {
  return nft::Value::protocol(static_cast<std::uint8_t>(at.protocol));
}

/// The packet's own destination.
Key current(const Place& place) {
  if (place.node) return {nft::meta::kL4Proto, nft::th::kDport};
  return {nft::daddr(place.family), nft::meta::kL4Proto, nft::th::kDport};
}

/// The destination before it was translated.
Key original(const Place& place) {
  if (place.node) return {nft::meta::kL4Proto, nft::ct::kOriginalDport};
  const bool v4 = place.family == Family::kV4;
  return {v4 ? nft::ct::kOriginalDaddr : nft::ct::kOriginalDaddr6, nft::meta::kL4Proto,
          nft::ct::kOriginalDport};
}

Key with(Key key, nft::Operand another) {
  key.push_back(std::move(another));
  return key;
}

nft::Chain chain(const std::string& name) {
  return {table(), name};
}

nft::Chain base(const std::string& name, Hook::Type type, Hook::Point point, int priority) {
  return {table(), name, Hook{type, point, priority}};
}

nft::Compare isFamily(Family family) {
  const std::uint8_t proto = family == Family::kV4 ? 2 : 10;  // NFPROTO_IPV4, NFPROTO_IPV6
  return {nft::meta::kNfProto, nft::Value::protocol(proto)};
}

const nft::HasBits kNew{nft::ct::kState, 0x8, "new"};  // NF_CT_STATE_BIT(IP_CT_NEW)

std::string pick(const Place& place, std::uint32_t count) {
  return nameOf(place, "pick_" + std::to_string(count));
}

/// Finds the chain for the number of endpoints, bit by bit.
class Trie {
 public:
  Trie(const Place& place, Transaction& tx) : place_(place), tx_(tx) {}

  /// Rules at the end of `in` that lead on to the chain of the packet's count, one of `counts`.
  void lead(const nft::Chain& in, const std::vector<std::uint32_t>& counts) {
    if (counts.size() == 1) {
      tx_.add(in, {{nft::goTo(pick(place_, counts.front()))}});
      return;
    }
    const unsigned bit = firstDifference(counts);
    std::vector<std::uint32_t> with, without;
    for (const std::uint32_t count : counts)
      ((count >> bit & 1) != 0 ? with : without).push_back(count);
    const nft::Chain there = chain(in.name + "_" + std::to_string(bit));
    tx_.add(there);
    tx_.flush(there);
    tx_.add(in, {{nft::InSet{current(place_), countBit(place_, bit).name}, nft::goTo(there.name)}});
    lead(there, with);
    lead(in, without);
  }

 private:
  static unsigned firstDifference(const std::vector<std::uint32_t>& counts) {
    std::uint32_t different = 0;
    for (const std::uint32_t count : counts)
      different |= count ^ counts.front();
    return static_cast<unsigned>(__builtin_ctz(different));
  }

  const Place& place_;
  Transaction& tx_;
};

/// A frontend from outside may have no endpoint that its policy allows: then nothing is translated.
void addPick(const Place& place, std::uint32_t count, Transaction& tx) {
  const nft::Chain here = chain(pick(place, count));
  tx.add(here);
  tx.flush(here);
  if (count == 0) {
    tx.add(here, {{nft::accept()}});
    return;
  }
  tx.add(here, {{nft::DnatMap{place.family, with(current(place), nft::randomBelow(count)),
                              endpoints(place).name}}});
}

nft::Chain translation(const Place& place) {
  return chain(nameOf(place, "translate"));
}

const std::set<std::uint32_t>& countsOf(const Shape& shape, const Place& place) {
  static const std::set<std::uint32_t> kNone;
  const auto counts = shape.counts.find(place);
  return counts == shape.counts.end() ? kNone : counts->second;
}

bool hasTranslations(const Shape& shape, const Place& place) {
  return !countsOf(shape, place).empty() || shape.has(sticky(place));
}

void addTranslation(const Shape& shape, const Place& place, Transaction& tx) {
  const nft::Chain here = translation(place);
  if (shape.has(sticky(place)))
    tx.add(here, {{nft::VerdictMap{current(place), sticky(place).name}}});
  const auto& counts = countsOf(shape, place);
  if (counts.empty()) return;
  tx.add(here, {{nft::InSet{current(place), frontends(place).name, nft::Op::kNotEqual},
                 nft::returnVerdict()}});
  for (const std::uint32_t count : counts)
    addPick(place, count, tx);
  Trie(place, tx).lead(here, {counts.begin(), counts.end()});
}

/// From pods: on to `pods`; everybody else: on to `others`.
void addOrigin(const nft::Chain& here, const Shape& shape, const std::string& pods,
               const std::string& others, Transaction& tx) {
  for (const IpPrefix& prefix : shape.pods)
    tx.add(here, {{nft::InPrefix{nft::saddr(prefix.family()), prefix}, nft::goTo(pods)}});
  tx.add(here, {{nft::goTo(others)}});
}

/// One place after another: addresses, then node ports if it is one of this node's addresses.
template <class Add>
void addPlaces(bool outside, Add add) {
  for (const Family family : kFamilies) {
    add(Place{family, false, outside}, std::vector<nft::Statement>{});
    add(Place{family, true, outside},
        {nft::InSet{{nft::daddr(family)}, nodeAddresses(family).name}});
  }
}

std::vector<nft::Statement> then(std::vector<nft::Statement> all, nft::Statement last) {
  all.push_back(std::move(last));
  return all;
}

void addNat(const Shape& shape, Transaction& tx) {
  const nft::Chain all = chain("translate_all"), outside = chain("translate_outside");
  const auto addJumps = [&](const nft::Chain& here, bool fromOutside) {
    addPlaces(fromOutside, [&](const Place& place, const std::vector<nft::Statement>& if_) {
      if (!hasTranslations(shape, place)) return;
      std::vector<nft::Statement> rule{isFamily(place.family)};
      rule.insert(rule.end(), if_.begin(), if_.end());
      tx.add(here, {then(rule, nft::jumpTo(translation(place).name))});
    });
  };
  addJumps(outside, true);
  tx.add(outside, {{nft::goTo(all.name)}});
  addJumps(all, false);
  addOrigin(base("nat_prerouting", Hook::Type::kNat, Hook::Point::kPrerouting, -100), shape,
            all.name, outside.name, tx);
  tx.add(base("nat_output", Hook::Type::kNat, Hook::Point::kOutput, -100), {{nft::goTo(all.name)}});
}

void addRefusals(const Shape& shape, Transaction& tx) {
  const nft::Chain all = chain("refuse_all"), outside = chain("refuse_outside");
  const auto addSets = [&](const nft::Chain& here, bool fromOutside) {
    addPlaces(fromOutside, [&](const Place& place, const std::vector<nft::Statement>& if_) {
      const auto refuse = [&](const nft::Set& set, const nft::Verdict& verdict) {
        if (!shape.has(set)) return;
        auto rule = if_;
        rule.push_back(nft::InSet{current(place), set.name});
        tx.add(here, {then(rule, verdict)});
      };
      if (!fromOutside) refuse(rejected(place), nft::goTo("reject"));
      refuse(dropped(place), nft::drop());
    });
  };
  addSets(outside, true);
  tx.add(outside, {{nft::goTo(all.name)}});
  addSets(all, false);
  for (const Family family : kFamilies) {
    if (shape.has(clusterIps(family)))
      tx.add(all,
             {{nft::InSet{{nft::daddr(family)}, clusterIps(family).name}, nft::goTo("reject")}});
  }
  const nft::Chain reject = chain("reject");
  tx.add(reject, {{nft::Compare{nft::meta::kL4Proto, nft::Value::protocol(6)}, nft::Reject{true}}});
  tx.add(reject, {{nft::Reject{}}});
  const nft::Chain origin = chain("refuse");
  tx.add(origin, {{nft::isTranslated(), nft::returnVerdict()}});  // it has an endpoint
  addOrigin(origin, shape, all.name, outside.name, tx);
  for (const auto& [name, point] : {std::pair{"refuse_input", Hook::Point::kInput},
                                    std::pair{"refuse_forward", Hook::Point::kForward}})
    tx.add(base(name, Hook::Type::kFilter, point, 0), {{kNew, nft::goTo(origin.name)}});
  const nft::Chain own = chain("refuse_own");
  tx.add(own, {{nft::isTranslated(), nft::returnVerdict()}});
  tx.add(own, {{nft::goTo(all.name)}});
  tx.add(base("refuse_output", Hook::Type::kFilter, Hook::Point::kOutput, 0),
         {{kNew, nft::goTo(own.name)}});
}

/// loadBalancerSourceRanges, before anything is translated.
void addGuard(const Shape& shape, Transaction& tx) {
  for (const Family family : kFamilies) {
    if (!shape.has(guarded(family))) continue;
    const nft::Chain here = chain("guard" + suffix(family));
    const Key key = current({family});
    tx.add(here,
           {{nft::InSet{key, guarded(family).name, nft::Op::kNotEqual}, nft::returnVerdict()}});
    for (const auto& [of, length] : shape.sourceLengths) {
      if (of != family) continue;
      const bool whole = length == addressBits(family);
      const nft::Operand network(nft::saddr(family),
                                 whole ? nft::Value() : nft::prefixMask(family, length));
      tx.add(here, {{nft::InSet{with(key, network), sources(family, length).name},
                     nft::returnVerdict()}});
    }
    tx.add(here, {{nft::drop()}});
  }
  for (const auto& [name, point] : {std::pair{"guard_prerouting", Hook::Point::kPrerouting},
                                    std::pair{"guard_output", Hook::Point::kOutput}}) {
    for (const Family family : kFamilies) {
      if (!shape.has(guarded(family))) continue;
      tx.add(base(name, Hook::Type::kFilter, point, -110),
             {{isFamily(family), kNew, nft::jumpTo("guard" + suffix(family))}});
    }
  }
}

void addMasquerade(const Shape& shape, const std::string& digest, Transaction& tx) {
  const nft::Chain post = firstChain();
  tx.add(post, {{nft::isTranslated(), nft::jumpTo("masquerade")}, "rules " + digest});
  const nft::Chain here = chain("masquerade");
  const nft::Masquerade now{.random = false, .fullyRandom = true};
  for (const Place& place : allPlaces()) {
    if (shape.has(remembered(place)))
      tx.add(here,
             {{isFamily(place.family), nft::VerdictMap{original(place), remembered(place).name}}});
  }
  for (const Family family : kFamilies) {
    if (shape.has(hairpins(family)))
      tx.add(here,
             {{nft::InSet{{nft::saddr(family), nft::daddr(family)}, hairpins(family).name}, now}});
    for (const bool node : {false, true}) {
      const Place place{family, node, false};
      if (shape.has(masqueraded(place)))
        tx.add(here,
               {{isFamily(family), nft::InSet{original(place), masqueraded(place).name}, now}});
      if (shape.has(masqueradedForHost(place)))
        tx.add(here,
               {{isFamily(family), nft::InSet{original(place), masqueradedForHost(place).name},
                 nft::Compare{nft::fib::kSaddrType, nft::Value::mark(2)}, now}});
    }
  }
  for (const IpPrefix& prefix : shape.pods)
    tx.add(here, {{nft::InPrefix{nft::saddr(prefix.family()), prefix}, nft::returnVerdict()}});
  for (const Family family : kFamilies) {
    const bool known = std::any_of(shape.pods.begin(), shape.pods.end(),
                                   [&](const IpPrefix& pods) { return pods.family() == family; });
    // Without, nobody can be told from a pod.
    if (!known || !shape.has(clusterIps(family))) continue;
    const auto& daddr = family == Family::kV4 ? nft::ct::kOriginalDaddr : nft::ct::kOriginalDaddr6;
    tx.add(here, {{nft::InSet{{daddr}, clusterIps(family).name}, now}});
  }
}

void addSets(const Shape& shape, Transaction& tx) {
  for (const Place& place : allPlaces()) {
    for (const nft::Set& set :
         {frontends(place), endpoints(place), sticky(place), remembered(place), rejected(place),
          dropped(place), masqueraded(place), masqueradedForHost(place)})
      tx.add(set);
    const auto counts = shape.counts.find(place);
    const std::uint32_t highest =
        counts == shape.counts.end() || counts->second.empty() ? 0 : *counts->second.rbegin();
    for (unsigned bit = 0; highest >> bit != 0; ++bit)
      tx.add(countBit(place, bit));
  }
  for (const Family family : kFamilies) {
    for (const nft::Set& set :
         {clusterIps(family), nodeAddresses(family), hairpins(family), guarded(family)})
      tx.add(set);
  }
  for (const auto& [family, length] : shape.sourceLengths)
    tx.add(sources(family, length));
}

void addChains(Transaction& tx) {
  const auto add = [&](const nft::Chain& one) {
    tx.add(one);
    tx.flush(one);
  };
  for (const Place& place : allPlaces())
    add(translation(place));
  for (const char* name :
       {"translate_all", "translate_outside", "refuse_all", "refuse_outside", "reject", "refuse",
        "refuse_own", "guard_ipv4", "guard_ipv6", "masquerade"})
    add(chain(name));
  using Point = Hook::Point;
  add(base("nat_prerouting", Hook::Type::kNat, Point::kPrerouting, -100));
  add(base("nat_output", Hook::Type::kNat, Point::kOutput, -100));
  add(base("nat_postrouting", Hook::Type::kNat, Point::kPostrouting, 100));
  add(base("guard_prerouting", Hook::Type::kFilter, Point::kPrerouting, -110));
  add(base("guard_output", Hook::Type::kFilter, Point::kOutput, -110));
  add(base("refuse_input", Hook::Type::kFilter, Point::kInput, 0));
  add(base("refuse_forward", Hook::Type::kFilter, Point::kForward, 0));
  add(base("refuse_output", Hook::Type::kFilter, Point::kOutput, 0));
}

}  // namespace

std::vector<Place> allPlaces() {
  std::vector<Place> all;
  for (const Family family : kFamilies) {
    for (const bool node : {false, true}) {
      for (const bool outside : {false, true})
        all.push_back({family, node, outside});
    }
  }
  return all;
}

const nft::Set& frontends(const Place& place) {
  static const SetByPlace kSets("frontends");
  return kSets.of(place);
}
const nft::Set& countBit(const Place& place, unsigned bit) {
  static const std::vector<SetByPlace> kSets = [] {
    std::vector<SetByPlace> sets;
    for (int i = 0; i < std::numeric_limits<std::uint32_t>::digits; ++i)
      sets.emplace_back("count_bit_" + std::to_string(i));
    return sets;
  }();
  return kSets.at(bit).of(place);
}
const nft::Set& rejected(const Place& place) {
  static const SetByPlace kSets("rejected");
  return kSets.of(place);
}
const nft::Set& dropped(const Place& place) {
  static const SetByPlace kSets("dropped");
  return kSets.of(place);
}
const nft::Set& masqueraded(const Place& place) {
  static const SetByPlace kSets("masqueraded");
  return kSets.of(place);
}
const nft::Set& masqueradedForHost(const Place& place) {
  static const SetByPlace kSets("masqueraded_for_host");
  return kSets.of(place);
}
const nft::Set& endpoints(const Place& place) {
  static const SetByPlace kSets("endpoints", [](const Place& at, nft::Set& set) {
    set.key = with(keyTypes(at), DataType::kMark);
    set.data = {nft::addressType(at.family), DataType::kInetService};
  });
  return kSets.of(place);
}
const nft::Set& sticky(const Place& place) {
  static const SetByPlace kSets("sticky", nft::TypeList{DataType::kVerdict});
  return kSets.of(place);
}
const nft::Set& remembered(const Place& place) {
  static const SetByPlace kSets("remembered", nft::TypeList{DataType::kVerdict});
  return kSets.of(place);
}
nft::Set clients(Family family, const std::string& port) {
  return {table(),
          "clients_" + port,
          {nft::addressType(family)},
          {nft::addressType(family), DataType::kInetService},
          true,
          {},
          kClientsMax};
}
bool isClients(const nft::Set& set) {
  return set.name.rfind("clients_", 0) == 0;
}
nft::Set members(Family family, const std::string& port) {
  return {table(), "members_" + port, {nft::addressType(family), DataType::kInetService}};
}
nft::Chain stickyChain(const Place& place, const std::string& port) {
  return chain(nameOf(place, "sticky_" + port));
}
nft::Chain rememberChain(const std::string& port) {
  return chain("remember_" + port);
}
const nft::Set& clusterIps(Family family) {
  static const auto kSets =
      setByFamily("cluster_ips", [](Family of) { return nft::TypeList{nft::addressType(of)}; });
  return kSets[indexOf(family)];
}
const nft::Set& nodeAddresses(Family family) {
  static const auto kSets =
      setByFamily("node_addresses", [](Family of) { return nft::TypeList{nft::addressType(of)}; });
  return kSets[indexOf(family)];
}
const nft::Set& hairpins(Family family) {
  static const auto kSets = setByFamily("hairpins", [](Family of) {
    return nft::TypeList{nft::addressType(of), nft::addressType(of)};
  });
  return kSets[indexOf(family)];
}
const nft::Set& guarded(Family family) {
  static const auto kSets = setByFamily("guarded", [](Family of) { return keyTypes({of}); });
  return kSets[indexOf(family)];
}
const nft::Set& sources(Family family, std::uint8_t length) {
  static const auto kSets = [] {
    std::array<std::vector<nft::Set>, 2> sets;
    for (const Family of : kFamilies) {
      for (unsigned bits = 0; bits <= addressBits(of); ++bits)
        sets[indexOf(of)].push_back({table(), "sources" + suffix(of) + "_" + std::to_string(bits),
                                     with(keyTypes({of}), nft::addressType(of))});
    }
    return sets;
  }();
  return kSets[indexOf(family)].at(length);
}

const std::set<std::string, std::less<>>& decidingSets() {
  static const auto kNames = [] {
    std::set<std::string, std::less<>> names;
    for (const Place& place : allPlaces()) {
      for (const nft::Set* one : {&sticky(place), &remembered(place), &rejected(place),
                                  &dropped(place), &masqueraded(place), &masqueradedForHost(place)})
        names.insert(one->name);
    }
    for (const Family family : kFamilies) {
      for (const nft::Set* one : {&clusterIps(family), &hairpins(family), &guarded(family)})
        names.insert(one->name);
    }
    return names;
  }();
  return kNames;
}

std::vector<const nft::Set*> keyedSets(const Place& place) {
  std::vector<const nft::Set*> all{&frontends(place),         &rejected(place), &dropped(place),
                                   &masqueraded(place),       &sticky(place),   &remembered(place),
                                   &masqueradedForHost(place)};
  if (!place.node && !place.outside) all.push_back(&guarded(place.family));
  for (unsigned bit = 0; bit < std::numeric_limits<std::uint32_t>::digits; ++bit)
    all.push_back(&countBit(place, bit));
  return all;
}

nft::Value keyOf(const Place& place, const At& at) {
  if (place.node) return nft::Value::concat({protocolValue(at), nft::Value::port(at.port)});
  return nft::Value::concat({at.address, protocolValue(at), nft::Value::port(at.port)});
}

nft::Value sourceKey(const At& at, const IpAddress& network) {
  return nft::Value::concat({at.address, protocolValue(at), nft::Value::port(at.port), network});
}

nft::Value endpointKey(const Place& place, const At& at, std::uint32_t index) {
  const nft::Value number = nft::Value::mark(index);
  if (place.node) return nft::Value::concat({protocolValue(at), nft::Value::port(at.port), number});
  return nft::Value::concat({at.address, protocolValue(at), nft::Value::port(at.port), number});
}

nft::Chain firstChain() {
  return base("nat_postrouting", Hook::Type::kNat, Hook::Point::kPostrouting, 100);
}

std::string commentOf(const StickyPort& port) {
  std::string text = std::to_string(port.timeout.count()) + "s";
  for (const auto& [place, count] : port.places)
    text += (place.node ? " node " : " ") + std::string(place.outside ? "outside " : "") +
            std::to_string(count);
  return text;
}

void addSticky(const StickyPort& port, Transaction& tx) {
  const nft::Set memory = clients(port.family, port.name), ends = members(port.family, port.name);
  tx.add(memory);
  tx.add(ends);
  for (const auto& [place, count] : port.places) {
    const nft::Chain here = stickyChain(place, port.name);
    tx.add(here);
    tx.flush(here);
    tx.add(here, {{nft::DnatMap{place.family, {nft::saddr(place.family)}, memory.name}}});
    tx.add(here, {{nft::DnatMap{place.family, with(current(place), nft::randomBelow(count)),
                                endpoints(place).name}}});
  }
  const nft::Chain remember = rememberChain(port.name);
  tx.add(remember);
  tx.flush(remember);
  const Key here{nft::daddr(port.family), nft::th::kDport};
  tx.add(remember, {{nft::InSet{here, ends.name},
                     nft::Update{memory.name, {nft::saddr(port.family)}, port.timeout, here}},
                    commentOf(port)});
}

void removeSticky(const StickyPort& port, Transaction& tx) {
  std::vector<nft::Chain> chains{rememberChain(port.name)};
  for (const auto& [place, count] : port.places)
    chains.push_back(stickyChain(place, port.name));
  for (const nft::Chain& one : chains) {
    tx.flush(one);
    tx.remove(one);
  }
  tx.remove(clients(port.family, port.name));
  tx.remove(members(port.family, port.name));
}

Transaction renderSets(const Shape& shape) {
  Transaction tx;
  tx.add(table());
  addSets(shape, tx);
  return tx;
}

Transaction render(const Shape& shape, const std::string& digest) {
  Transaction tx;
  tx.add(table());
  addSets(shape, tx);
  addChains(tx);
  for (const Place& place : allPlaces())
    addTranslation(shape, place, tx);
  addNat(shape, tx);
  addRefusals(shape, tx);
  addGuard(shape, tx);
  addMasquerade(shape, digest, tx);
  return tx;
}

}  // namespace culvert::services::layout
