#include "hostfw/forward_table.h"

#include "hostfw/inet_table.h"
#include "hostfw/spoof_check_table.h"

namespace culvert::hostfw::forward {
namespace {

using nft::DataType;
using nft::Value;

/// Before everybody's filter, and after.
constexpr std::int32_t kBeforeFilter = -10;
constexpr std::int32_t kAfterFilter = 10;

const char* familyName(Family family) {
  return family == Family::kV4 ? "ipv4" : "ipv6";
}

nft::Chain baseChain(const char* name, std::int32_t priority) {
  return {inetTable(), name,
          nft::Hook{nft::Hook::Type::kFilter, nft::Hook::Point::kForward, priority}};
}

Value policyData(const std::string& interface, PolicyKind kind) {
  return Value::concat({Value::ifName(interface), Value::mark(static_cast<std::uint32_t>(kind))});
}

void addFamilyRules(nft::Transaction& tx, Family family) {
  const nft::Chain chain = filterChain();
  const nft::InSet from{{nft::saddr(family)}, addressSet(family).name};
  const nft::InSet to{{nft::daddr(family)}, addressSet(family).name};
  tx.add(chain, {{nft::isInvalid(), nft::InSet{{nft::saddr(family)}, strictSet(family).name},
                  nft::drop()}});
  tx.add(chain, {{nft::isInvalid(), nft::InSet{{nft::daddr(family)}, strictSet(family).name},
                  nft::drop()}});
  tx.add(chain, {{from, nft::MarkBits{kAcceptMark}}});
  tx.add(chain, {{to, nft::isEstablished(), nft::MarkBits{kAcceptMark}}});
}

}  // namespace

nft::Set addressSet(Family family) {
  return {inetTable(), std::string("forward_") + familyName(family), {nft::addressType(family)}};
}

nft::Set strictSet(Family family) {
  return {
      inetTable(), std::string("forward_strict_") + familyName(family), {nft::addressType(family)}};
}

nft::Set ownerMap(Family family) {
  return {inetTable(),
          std::string("forward_owner_") + familyName(family),
          ownerKeyTypes(),
          {nft::addressType(family)}};
}

nft::Set bridgeSet() {
  return {inetTable(), "forward_bridges", {DataType::kIfName}};
}

nft::Set sameBridgeSet() {
  return {inetTable(), "forward_same_bridge", {DataType::kIfName, DataType::kIfName}};
}

nft::Set policyMap() {
  return {inetTable(), "forward_policy", ownerKeyTypes(), {DataType::kIfName, DataType::kMark}};
}

std::optional<PolicyEntry> parsePolicy(const nft::Element& element) {
  const auto* value = std::get_if<Value>(&element.data);
  if (value == nullptr) return std::nullopt;
  const auto fields = value->split(policyMap().data);
  if (fields.empty()) return std::nullopt;
  return PolicyEntry{fields[0].ifName(), static_cast<PolicyKind>(fields[1].mark())};
}

nft::Chain filterChain() {
  return baseChain("forward", kBeforeFilter);
}

nft::Chain doneChain() {
  return baseChain("forward_done", kAfterFilter);
}

nft::Chain adminJumps() {
  return {inetTable(), "forward_admin"};
}

nft::Chain adminChain(const std::string& name) {
  return {inetTable(), name};
}

std::vector<Placed> elementsFor(const Owner& owner, const std::vector<IpAddress>& addresses,
                                const ForwardOptions& options) {
  const std::string tag = ownerTag(owner);
  const OwnerHash hash = ownerHash(owner);
  std::size_t numbers[] = {0, 0};
  std::vector<Placed> all;
  for (const IpAddress& address : std::set<IpAddress>(addresses.begin(), addresses.end())) {
    const Family family = address.family();
    std::size_t& number = numbers[family == Family::kV4 ? 0 : 1];
    all.push_back({addressSet(family), {address, {}, tag}});
    if (options.dropInvalid) all.push_back({strictSet(family), {address, {}, tag}});
    all.push_back({ownerMap(family), {ownerKey(hash, number++), Value(address), tag}});
  }
  if (options.policy == IngressPolicy::kOpen) return all;
  std::size_t number = 0;
  const auto kind =
      options.policy == IngressPolicy::kIsolated ? PolicyKind::kIsolated : PolicyKind::kSameBridge;
  all.push_back({policyMap(), {ownerKey(hash, number++), policyData(options.bridge, kind), tag}});
  for (const std::string& port : options.ports)
    all.push_back(
        {policyMap(), {ownerKey(hash, number++), policyData(port, PolicyKind::kPort), tag}});
  return all;
}

std::vector<Placed> sharedFor(const ForwardOptions& options) {
  if (options.policy == IngressPolicy::kOpen) return {};
  const Value name = Value::ifName(options.bridge);
  std::vector<Placed> shared{{bridgeSet(), {name, {}, "ingressPolicy"}}};
  if (options.policy == IngressPolicy::kSameBridge)
    shared.push_back({sameBridgeSet(), {Value::concat({name, name}), {}, "ingressPolicy"}});
  return shared;
}

void addFrame(nft::Transaction& tx) {
  tx.add(inetTable());
  for (const Family family : {Family::kV4, Family::kV6}) {
    tx.add(addressSet(family));
    tx.add(strictSet(family));
    tx.add(ownerMap(family));
  }
  tx.add(bridgeSet());
  tx.add(sameBridgeSet());
  tx.add(policyMap());
  tx.add(adminJumps());
  for (const nft::Chain& chain : {filterChain(), doneChain()}) {
    tx.add(chain);
    tx.flush(chain);
  }
  tx.add(filterChain(), {{nft::jumpTo(adminJumps().name)}});
  tx.add(filterChain(), {{nft::InSet{{nft::meta::kIifName}, bridgeSet().name},
                          nft::InSet{{nft::meta::kOifName}, bridgeSet().name},
                          nft::InSet{{nft::meta::kIifName, nft::meta::kOifName},
                                     sameBridgeSet().name,
                                     nft::Op::kNotEqual},
                          nft::drop()}});
  addFamilyRules(tx, Family::kV4);
  addFamilyRules(tx, Family::kV6);
  const Value mark = Value::mark(kAcceptMark);
  tx.add(doneChain(),
         {{nft::Compare{{nft::meta::kMark, mark}, mark}, nft::MarkBits{kAcceptMark, false}}});
}

nft::Set isolatedSet() {
  return {spoof_check::table(), "isolated", {DataType::kIfName}};
}

nft::Chain isolationChain() {
  return {spoof_check::table(), "forward",
          nft::Hook{nft::Hook::Type::kFilter, nft::Hook::Point::kForward, 0}};
}

std::vector<Placed> isolatedFor(const Owner& owner, const std::vector<std::string>& ports) {
  std::vector<Placed> all;
  for (const std::string& port : ports)
    all.push_back({isolatedSet(), {Value::ifName(port), {}, ownerTag(owner)}});
  return all;
}

void addIsolationFrame(nft::Transaction& tx) {
  tx.add(spoof_check::table());
  tx.add(isolatedSet());
  tx.add(isolationChain());
  tx.flush(isolationChain());
  tx.add(isolationChain(), {{nft::InSet{{nft::meta::kIifName}, isolatedSet().name},
                             nft::InSet{{nft::meta::kOifName}, isolatedSet().name}, nft::drop()}});
}

}  // namespace culvert::hostfw::forward
