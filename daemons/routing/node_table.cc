#include "daemons/routing/node_table.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/digest.h"
#include "daemons/routing/settings.h"

namespace culvert::routing {
namespace {

using nft::Hook;
using nft::Transaction;

constexpr Family kFamilies[] = {Family::kV4, Family::kV6};
constexpr std::uint32_t kServicesMark = 0x4000;  // kube-proxy's: it masquerades these itself

nft::Table table() {
  return NodeTable::table();
}

std::string suffix(Family family) {
  return family == Family::kV4 ? "ipv4" : "ipv6";
}

nft::Set peerSet(Family family) {
  return {table(), "peers_" + suffix(family), {nft::addressType(family)}};
}

/// Networks of one length: `ip daddr & 255.255.255.0 @pods_ipv4_24`.
nft::Set networkSet(Family family, std::uint8_t length) {
  return {
      table(), "pods_" + suffix(family) + "_" + std::to_string(length), {nft::addressType(family)}};
}

/// Likewise, of pods whose packets are encrypted.
nft::Set encryptedSet(Family family, std::uint8_t length) {
  return {table(),
          "encrypted_" + suffix(family) + "_" + std::to_string(length),
          {nft::addressType(family)}};
}

nft::Chain postrouting() {
  return {table(), "postrouting", Hook{Hook::Type::kNat, Hook::Point::kPostrouting, 100}};
}

/// Before conntrack (NF_IP_PRI_CONNTRACK is -200), for what comes and for what is sent.
nft::Chain raw(Hook::Point point) {
  return {table(), point == Hook::Point::kOutput ? "raw_output" : "raw_prerouting",
          Hook{Hook::Type::kFilter, point, -300}};
}

/// What comes, before conntrack; what leaves, after everything else.
nft::Chain plaintext(Hook::Point point) {
  const bool comes = point == Hook::Point::kPrerouting;
  return {table(), comes ? "plaintext_in" : "plaintext_out",
          Hook{Hook::Type::kFilter, point, comes ? -299 : 300}};
}

nft::Chain outgoing(Family family) {
  return {table(), "outgoing_" + suffix(family)};
}

nft::Chain tunnelled(Family family) {
  return {table(), "tunnelled_" + suffix(family)};
}

IpPrefix multicast(Family family) {
  return *IpPrefix::parse(family == Family::kV4 ? "224.0.0.0/4" : "ff00::/8");
}

nft::Masquerade masquerade() {
  return {.random = false, .fullyRandom = true};
}

/// The part of an address that is looked up in a set of networks.
nft::Operand networkOf(const nft::Field& field, Family family, std::uint8_t length) {
  const bool whole = length == addressBits(family);
  return {field, whole ? nft::Value() : nft::prefixMask(family, length)};
}

/// Whether the field is in a network of pods: returns from the chain.
void addPods(const NodeRules& rules, Family family, const nft::Field& field,
             const nft::Chain& chain, Transaction& tx) {
  for (const IpPrefix& prefix : rules.pods) {
    if (prefix.family() == family)
      tx.add(chain, {{nft::InPrefix{field, prefix}, nft::returnVerdict()}});
  }
  for (const auto& [of, length] : rules.lengths) {
    if (of != family) continue;
    tx.add(chain, {{nft::InSet{{networkOf(field, family, length)}, networkSet(family, length).name},
                    nft::returnVerdict()}});
  }
}

/// From pods to the world.
void addOutgoing(const NodeRules& rules, Family family, Transaction& tx) {
  const nft::Chain chain = outgoing(family);
  const auto spare = [&](const IpPrefix& prefix) {
    if (prefix.family() == family)
      tx.add(chain, {{nft::InPrefix{nft::daddr(family), prefix}, nft::returnVerdict()}});
  };
  addPods(rules, family, nft::daddr(family), chain, tx);
  std::for_each(rules.excluded.begin(), rules.excluded.end(), spare);
  spare(multicast(family));
  tx.add(chain, {{masquerade()}});
}

/// What this host sends into a tunnel by an address that is no pod's: the answer has to come back
/// through it.
void addHostToTunnel(const NodeRules& rules, Family family, Transaction& tx) {
  addPods(rules, family, nft::saddr(family), tunnelled(family), tx);
  tx.add(tunnelled(family), {{masquerade()}});
}

void addPostrouting(const NodeRules& rules, const std::string& digest, Transaction& tx) {
  const nft::Chain chain = postrouting();
  const nft::Operand servicesMark(nft::meta::kMark, nft::Value::mark(kServicesMark));
  tx.add(chain,
         {{nft::Compare{servicesMark, nft::Value::mark(kServicesMark)}, nft::returnVerdict()},
          "rules " + digest});
  for (const IpPrefix& source : rules.masqueraded) {
    const Family family = source.family();
    tx.add(chain, {{nft::InPrefix{nft::saddr(family), source}, nft::goTo(outgoing(family).name)}});
  }
  for (const std::string& tunnel : rules.tunnels) {
    for (const Family family : kFamilies) {
      const std::uint8_t protocol = family == Family::kV4 ? 2 : 10;  // NFPROTO_IPV4, NFPROTO_IPV6
      tx.add(chain, {{nft::Compare{nft::meta::kOifName, nft::Value::ifName(tunnel)},
                      nft::Compare{nft::meta::kNfProto, nft::Value::protocol(protocol)},
                      nft::goTo(tunnelled(family).name)}});
    }
  }
}

/// What peers send to the tunnels' ports passes without conntrack, which would look at each packet
/// twice, outside and inside, only because the chains above turn it on. What others send there goes
/// no further. One chain for both, as it costs something with each packet.
void addRaw(const NodeRules& rules, Transaction& tx) {
  const nft::Chain in = raw(Hook::Point::kPrerouting), out = raw(Hook::Point::kOutput);
  tx.add(in);
  tx.add(out);
  for (const std::uint16_t number : rules.ports) {
    const nft::Compare port{nft::udp::kDport, nft::Value::port(number)};
    for (const Family family : kFamilies)
      tx.add(in, {{port, nft::InSet{{nft::saddr(family)}, peerSet(family).name}, nft::NoTrack{},
                   nft::accept()}});
    tx.add(in,
           {{port, nft::Compare{nft::fib::kDaddrType, nft::Value::mark(RTN_LOCAL)}, nft::drop()}});
    tx.add(out, {{port, nft::NoTrack{}}});
  }
}

/// Whoever pretends to be a pod behind WireGuard, on the wire or on this node, and what would go
/// there by another way, because the route is missing.
void addPlaintext(const NodeRules& rules, Transaction& tx) {
  const nft::Value devices = nft::Value::ifNamePrefix(kWireguardDevicePrefix);
  const auto drop = [&](const nft::Chain& chain, const nft::Field& device, const auto& address) {
    tx.add(chain);
    for (const auto& [family, length] : rules.encryptedLengths) {
      tx.add(chain, {{nft::Compare{device, devices, nft::Op::kNotEqual},
                      nft::InSet{{networkOf(address(family), family, length)},
                                 encryptedSet(family, length).name},
                      nft::drop()}});
    }
  };
  drop(plaintext(Hook::Point::kPrerouting), nft::meta::kIifName, nft::saddr);
  drop(plaintext(Hook::Point::kPostrouting), nft::meta::kOifName, nft::daddr);
}

nft::Set peerSetOf(const IpAddress& peer) {
  return peerSet(peer.family());
}
nft::Set networkSetOf(const IpPrefix& network) {
  return networkSet(network.family(), network.length());
}
nft::Set encryptedSetOf(const IpPrefix& network) {
  return encryptedSet(network.family(), network.length());
}
nft::Value keyOf(const IpAddress& peer) {
  return peer;
}
nft::Value keyOf(const IpPrefix& network) {
  return network.address();
}

/// Every value that the rules depend on.
std::string digestOf(const NodeRules& rules) {
  const Transaction tx = renderRules(rules, "");
  return sha512Hex(tx.toText(), 16);
}

}  // namespace

Transaction renderRules(const NodeRules& rules, const std::string& digest) {
  Transaction tx;
  tx.add(table());
  tx.flush(table());
  for (const Family family : kFamilies) {
    tx.add(peerSet(family));
    tx.add(outgoing(family));
    tx.add(tunnelled(family));
  }
  for (const auto& [family, length] : rules.lengths)
    tx.add(networkSet(family, length));
  for (const auto& [family, length] : rules.encryptedLengths)
    tx.add(encryptedSet(family, length));
  for (const Family family : kFamilies) {
    addOutgoing(rules, family, tx);
    addHostToTunnel(rules, family, tx);
  }
  tx.add(postrouting());
  addPostrouting(rules, digest, tx);
  if (!rules.ports.empty()) addRaw(rules, tx);
  if (!rules.encryptedLengths.empty()) addPlaintext(rules, tx);
  return tx;
}

nft::Table NodeTable::table() {
  return {nft::TableFamily::kInet, "culvert_routing"};
}

/// False where the kernel does not know such tables, and for one that an older daemon made.
Result<bool> NodeTable::own() {
  Transaction tx;
  tx.own(table());
  const auto owned = nft_.commit(tx);
  if (!owned && owned.error().sysErrno != EOPNOTSUPP) return owned.error();
  return owned.has_value();
}

/// By the digest in the first rule, and by their number: others may have added or removed some.
Result<bool> NodeTable::hasRules(const Transaction& tx, const std::string& digest) {
  for (const auto& [chain, count] : nft::countRules(tx)) {
    const auto rules = nft_.listRules({table(), chain});
    if (!rules && rules.error().code != Errc::kNotFound) return rules.error();
    if (!rules || rules->size() != count) return false;
    if (chain == postrouting().name && rules->front().comment != "rules " + digest) return false;
  }
  return true;
}

Result<void> NodeTable::ensureRules(const NodeRules& rules) {
  const std::string digest = digestOf(rules);
  const Transaction tx = renderRules(rules, digest);
  const auto tables = TRY(nft_.listTables());
  const bool present = std::find(tables.begin(), tables.end(), table()) != tables.end();
  if (!present || !std::exchange(tried_, true)) protected_ = TRY(own());
  if (present && TRY(hasRules(tx, digest))) return {};
  return nft_.commit(tx).context("rules of table inet culvert_routing");
}

Result<void> NodeTable::ensureMembers(const NodeRules& rules, const Members& members) {
  Members present;
  for (const Family family : kFamilies) {
    for (const nft::Element& element : TRY(nft_.listElements(peerSet(family))))
      present.peers.insert(element.key.address(family));
  }
  const auto list = [&](const nft::Set& set, Family family, std::uint8_t length,
                        std::set<IpPrefix>& into) -> Result<void> {
    for (const nft::Element& element : TRY(nft_.listElements(set)))
      into.insert({element.key.address(family), length});
    return {};
  };
  for (const auto& [family, length] : rules.lengths)
    TRY(list(networkSet(family, length), family, length, present.networks));
  for (const auto& [family, length] : rules.encryptedLengths)
    TRY(list(encryptedSet(family, length), family, length, present.encrypted));
  return changeMembers(present, members);
}

Result<void> NodeTable::changeMembers(const Members& before, const Members& now) {
  Transaction tx;
  const auto change = [&](const auto& from, const auto& to, const auto& setOf) {
    for (const auto& member : to) {
      if (from.count(member) == 0) tx.add(setOf(member), {keyOf(member)});
    }
    for (const auto& member : from) {
      if (to.count(member) == 0) tx.remove(setOf(member), {keyOf(member)});
    }
  };
  change(before.peers, now.peers, peerSetOf);
  change(before.networks, now.networks, networkSetOf);
  change(before.encrypted, now.encrypted, encryptedSetOf);
  if (tx.empty()) return {};
  return nft_.commit(tx).context("members of table inet culvert_routing");
}

Result<bool> NodeTable::remove() {
  const auto tables = TRY(nft_.listTables());
  if (std::find(tables.begin(), tables.end(), table()) == tables.end()) return false;
  Transaction tx;
  tx.remove(table());
  TRY(nft_.commit(tx).context("table inet culvert_routing"));
  return true;
}

}  // namespace culvert::routing
