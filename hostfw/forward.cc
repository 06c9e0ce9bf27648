#include "hostfw/forward.h"

#include <algorithm>
#include <cctype>

#include "hostfw/forward_gate.h"
#include "hostfw/forward_table.h"
#include "hostfw/inet_table.h"
#include "hostfw/spoof_check_table.h"

namespace culvert::hostfw {
namespace {

using forward::ownerMap;
using forward::PolicyEntry;
using forward::PolicyKind;
using forward::policyMap;
using nft::Element;

OwnedTable ownedTable() {
  return inetOwned(ownerMap(Family::kV4));
}

OwnedTable isolationTable() {
  return {spoof_check::table(),
          {spoof_check::prerouting().name, forward::isolationChain().name},
          {forward::isolatedSet(), spoof_check::macMap()}};
}

std::vector<nft::Set> indexes() {
  return {ownerMap(Family::kV4), ownerMap(Family::kV6), policyMap()};
}

/// The records of one owner: the elements of an index, as numbered there.
Result<std::vector<Placed>> findIndexed(nft::Connection& nft, const OwnerHash& owner,
                                        const nft::Set& index) {
  constexpr std::size_t kAtOnce = 4;
  std::vector<Placed> records;
  for (std::size_t first = 0;; first += kAtOnce) {
    std::vector<nft::Connection::ElementQuery> queries;
    for (std::size_t i = first; i < first + kAtOnce; ++i)
      queries.push_back({index, ownerKey(owner, i)});
    for (const auto& element : TRY(nft.findElements(queries))) {
      if (!element) return records;
      records.push_back({index, *element});
    }
  }
}

Result<std::vector<Placed>> findRecords(nft::Connection& nft, const OwnerHash& owner) {
  std::vector<Placed> all;
  for (const nft::Set& index : indexes()) {
    for (Placed& record : TRY(findIndexed(nft, owner, index)))
      all.push_back(std::move(record));
  }
  return all;
}

/// Where a record's packets are looked for.
std::vector<Placed> pathOf(const Placed& record) {
  const auto* value = std::get_if<nft::Value>(&record.element.data);
  if (value == nullptr || record.set.name == policyMap().name) return {};
  const Family family = record.set.name == ownerMap(Family::kV4).name ? Family::kV4 : Family::kV6;
  return {{forward::addressSet(family), {*value}}, {forward::strictSet(family), {*value}}};
}

/// The records, and what they tell of where it is still of the record's owner.
Result<void> addRecords(nft::Connection& nft, const std::vector<Placed>& records,
                        Removal& removal) {
  std::vector<nft::Connection::ElementQuery> queries;
  std::vector<const Placed*> owners;
  for (const Placed& record : records) {
    removal.add(record.set, record.element.key);
    for (const auto& [set, element] : pathOf(record)) {
      queries.push_back({set, element.key});
      owners.push_back(&record);
    }
  }
  const auto found = TRY(nft.findElements(queries));
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] && found[i]->comment == owners[i]->element.comment)
      removal.add(queries[i].set, queries[i].key);
  }
  return {};
}

/// Whether an owner who stays has a policy for the interface, of the kind if one is given.
Result<bool> hasPolicy(nft::Connection& nft, const std::string& interface,
                       std::optional<PolicyKind> kind, const Removal& removal) {
  return nft.anyElement(policyMap(), [&](const Element& element) {
    const auto entry = forward::parsePolicy(element);
    return entry && entry->interface == interface && entry->kind != PolicyKind::kPort &&
           (!kind || entry->kind == *kind) && !removal.contains(policyMap(), element.key);
  });
}

Result<void> addIfPresent(nft::Connection& nft, const nft::Set& set, const nft::Value& key,
                          Removal& removal) {
  if (TRY(nft.findElements({{set, key}})).front()) removal.add(set, key);
  return {};
}

/// What all owners on a bridge share goes with the last of them.
Result<void> addBridges(nft::Connection& nft, const std::vector<Placed>& records,
                        Removal& removal) {
  std::set<std::string> interfaces;
  for (const Placed& record : records) {
    const auto entry =
        record.set.name == policyMap().name ? forward::parsePolicy(record.element) : std::nullopt;
    if (entry && entry->kind != PolicyKind::kPort) interfaces.insert(entry->interface);
  }
  for (const std::string& interface : interfaces) {
    const auto name = nft::Value::ifName(interface);
    if (!TRY(hasPolicy(nft, interface, PolicyKind::kSameBridge, removal)))
      TRY(addIfPresent(nft, forward::sameBridgeSet(), nft::Value::concat({name, name}), removal));
    if (!TRY(hasPolicy(nft, interface, std::nullopt, removal)))
      TRY(addIfPresent(nft, forward::bridgeSet(), name, removal));
  }
  return {};
}

/// Makes the jump to the operators' chain, if there is none.
Result<void> addAdmin(nft::Connection& nft, const std::string& name, nft::Transaction& tx) {
  tx.add(forward::adminChain(name));
  auto rules = nft.listRules(forward::adminJumps());
  if (!rules && rules.error().code != Errc::kNotFound) return rules.error();
  const bool isThere = rules && std::any_of(rules->begin(), rules->end(),
                                            [&](const auto& rule) { return rule.target == name; });
  if (!isThere) tx.add(forward::adminJumps(), {{nft::jumpTo(name)}});
  return {};
}

Result<void> replaceElements(nft::Connection& nft, const Owner& owner,
                             const std::vector<Placed>& elements, const std::vector<Placed>& shared,
                             const std::string& adminChain, nft::Generation seen) {
  Removal removal;
  const auto records = TRY(findRecords(nft, ownerHash(owner)));
  TRY(addRecords(nft, records, removal));
  TRY(addBridges(nft, records, removal));
  TRY(addOccupants(nft, elements, removal));
  nft::Transaction tx = removal.transaction();
  forward::addFrame(tx);
  TRY(addAdmin(nft, adminChain, tx));
  for (const auto* list : {&elements, &shared}) {
    for (const auto& [set, element] : *list)
      tx.add(set, element);
  }
  return nft.commit(tx, seen);
}

Result<void> ensureIsolation(nft::Connection& nft, const Owner& owner,
                             const std::vector<std::string>& ports) {
  const auto elements = forward::isolatedFor(owner, ports);
  if (elements.empty() || TRY(createElements(nft, elements))) return {};
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    Removal removal;
    TRY(addOccupants(nft, elements, removal));
    nft::Transaction tx = removal.transaction();
    forward::addIsolationFrame(tx);
    for (const auto& [set, element] : elements)
      tx.add(set, element);
    return nft.commit(tx, seen);
  };
  return retryOnConflict(nft, attempt);
}

/// The ports that the records tell of, as far as they are still of the records' owners.
Result<void> removeIsolation(nft::Connection& nft, const std::vector<Placed>& records) {
  std::vector<nft::Connection::ElementQuery> queries;
  std::vector<std::string> tags;
  for (const Placed& record : records) {
    const auto entry =
        record.set.name == policyMap().name ? forward::parsePolicy(record.element) : std::nullopt;
    if (!entry || entry->kind != PolicyKind::kPort) continue;
    queries.push_back({forward::isolatedSet(), nft::Value::ifName(entry->interface)});
    tags.push_back(record.element.comment);
  }
  if (queries.empty()) return {};
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    Removal removal;
    const auto found = TRY(nft.findElements(queries));
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] && found[i]->comment == tags[i]) removal.add(queries[i].set, queries[i].key);
    }
    if (removal.empty()) return {};
    return commitRemoval(nft, isolationTable(), removal, seen);
  };
  return retryOnConflict(nft, attempt);
}

Result<bool> hasOwners(nft::Connection& nft) {
  for (const nft::Set& index : indexes()) {
    const auto any = nft.anyElement(index, [](const Element&) { return true; });
    if (any && *any) return true;
    if (!any && any.error().code != Errc::kNotFound) return any.error();
  }
  return false;
}

/// The gate of iptables goes with the last owner, whoever removed that one's elements.
Result<void> removeUnusedGate(nft::Connection& nft) {
  const auto present = TRY(nft.findChains({{{nft::TableFamily::kIp, "filter"}, "CNI-FORWARD"},
                                           {{nft::TableFamily::kIp6, "filter"}, "CNI-FORWARD"}}));
  const bool any = std::find(present.begin(), present.end(), true) != present.end();
  if (!any || TRY(hasOwners(nft))) return {};
  return removeGate(nft);
}

Error missing(const std::string& what) {
  return makeError(Errc::kCheckFailed, "firewall: " + what);
}

Result<void> checkElements(nft::Connection& nft, const std::vector<Placed>& elements,
                           bool withComment) {
  std::vector<nft::Connection::ElementQuery> queries;
  for (const auto& [set, element] : elements)
    queries.push_back({set, element.key});
  const auto found = TRY(nft.findElements(queries));
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto& [set, element] = elements[i];
    const std::string what = set.name + " { " + nft::toText(set.key, element.key) + " }";
    if (!found[i]) return missing(what + " is missing");
    if (withComment && found[i]->comment != element.comment)
      return missing(what + " belongs to another: " + found[i]->comment);
    if (found[i]->data != element.data) return missing(what + " is another");
  }
  return {};
}

Result<void> checkRules(nft::Connection& nft, const std::string& adminChain) {
  nft::Transaction frame;
  forward::addFrame(frame);
  for (const nft::Chain& chain : {forward::filterChain(), forward::doneChain()}) {
    const auto count = std::count_if(
        frame.operations().begin(), frame.operations().end(), [&](const auto& operation) {
          const auto* rule = std::get_if<nft::Transaction::RuleOf>(&operation.what);
          return rule != nullptr && rule->chain.name == chain.name;
        });
    const auto have = nft.listRules(chain);
    if (!have || have->size() < static_cast<std::size_t>(count))
      return missing("chain " + chain.name + " has lost rules");
  }
  const auto jumps = nft.listRules(forward::adminJumps());
  const bool isHooked = jumps && std::any_of(jumps->begin(), jumps->end(), [&](const auto& rule) {
                          return rule.target == adminChain;
                        });
  if (!isHooked) return missing("chain " + adminChain + " is not asked");
  return {};
}

/// Listing took a while: only those that are still as they were.
Result<std::vector<Placed>> stillThere(nft::Connection& nft, const std::vector<Placed>& records) {
  std::vector<nft::Connection::ElementQuery> queries;
  for (const Placed& record : records)
    queries.push_back({record.set, record.element.key});
  const auto found = TRY(nft.findElements(queries));
  std::vector<Placed> there;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] && *found[i] == records[i].element) there.push_back(records[i]);
  }
  return there;
}

Result<std::vector<Placed>> listInvalid(nft::Connection& nft, const Invalid& invalid) {
  std::vector<Placed> records;
  for (const nft::Set& index : indexes()) {
    auto elements = nft.listElements(index);
    if (!elements && elements.error().code == Errc::kNotFound) continue;
    for (Element& element : TRY(std::move(elements))) {
      if (invalid.owns(element)) records.push_back({index, std::move(element)});
    }
  }
  return records;
}

/// What `records()` tells of goes, all in one transaction; then the ports and the gate.
template <class Records>
Result<void> removeRecords(nft::Connection& nft, Records records) {
  const auto ports = TRY(records());
  // First the ports: their records are how a repeated DEL finds them.
  TRY(removeIsolation(nft, ports));
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    const auto there = TRY(records());
    Removal removal;
    TRY(addRecords(nft, there, removal));
    TRY(addBridges(nft, there, removal));
    if (removal.empty()) return {};
    return commitRemoval(nft, ownedTable(), removal, seen);
  };
  TRY(retryOnConflict(nft, attempt));
  return removeUnusedGate(nft);
}

}  // namespace

bool canBeAdminChain(const std::string& name) {
  constexpr std::size_t kIptablesMax = 28;
  if (name.empty() || name.size() > kIptablesMax || name.front() == '-') return false;
  const bool isWord = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
  static const std::set<std::string> kTaken{"FORWARD", "INPUT",       "OUTPUT", "CNI-FORWARD",
                                            "forward", "postrouting", "portmap"};
  const auto startsWith = [&](const char* prefix) { return name.rfind(prefix, 0) == 0; };
  return isWord && kTaken.count(name) == 0 && !startsWith("forward_") && !startsWith("portmap_") &&
         !startsWith("masquerade_");
}

Result<void> ensureForward(nft::Connection& nft, const Owner& owner,
                           const std::vector<IpAddress>& addresses, const ForwardOptions& options) {
  const auto elements = forward::elementsFor(owner, addresses, options);
  const auto shared = forward::sharedFor(options);
  const bool isHooked = TRY(nft.findChains({forward::adminChain(options.adminChain)})).front();
  if (!isHooked || !TRY(createElements(nft, elements, shared).context("forward filter"))) {
    const auto attempt = [&](nft::Generation seen) {
      return replaceElements(nft, owner, elements, shared, options.adminChain, seen);
    };
    TRY(retryOnConflict(nft, attempt).context("forward filter"));
  }
  // After the records, by which DEL and GC find the ports.
  if (options.policy == IngressPolicy::kIsolated)
    TRY(ensureIsolation(nft, owner, options.ports).context("isolate the bridge port"));
  return ensureGate(nft, options.adminChain);
}

Result<void> removeForward(nft::Connection& nft, const Owner& owner) {
  const OwnerHash hash = ownerHash(owner);
  return removeRecords(nft, [&] { return findRecords(nft, hash); })
      .context("remove from the forward filter");
}

Result<void> checkForward(nft::Connection& nft, const Owner& owner,
                          const std::vector<IpAddress>& addresses, const ForwardOptions& options) {
  TRY(checkElements(nft, forward::elementsFor(owner, addresses, options), true));
  TRY(checkElements(nft, forward::sharedFor(options), false));
  TRY(checkRules(nft, options.adminChain));
  if (options.policy == IngressPolicy::kIsolated) {
    TRY(checkElements(nft, forward::isolatedFor(owner, options.ports), true));
    const auto rules = nft.listRules(forward::isolationChain());
    if (!options.ports.empty() && (!rules || rules->empty()))
      return missing("chain bridge culvert_cni forward has lost its rule");
  }
  if (!TRY(hasGate(nft, options.adminChain)))
    return missing("the FORWARD chain of iptables does not let marked packets through");
  return {};
}

Result<void> collectForward(nft::Connection& nft, const std::string& network,
                            const std::set<Attachment>& valid) {
  const Invalid invalid(network, valid);
  const auto candidates = TRY(listInvalid(nft, invalid));
  if (candidates.empty()) return removeUnusedGate(nft);
  return removeRecords(nft, [&] { return stillThere(nft, candidates); })
      .context("collect the forward filter of network " + network);
}

}  // namespace culvert::hostfw
