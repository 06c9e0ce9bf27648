#include "hostfw/portmap.h"

#include <netinet/in.h>

#include <algorithm>

#include "hostfw/inet_table.h"
#include "hostfw/owned_table.h"
#include "hostfw/portmap_table.h"

namespace culvert::hostfw {
namespace {

using nft::Element;
using portmap::Frame;
using portmap::ownerMap;
using portmap::Recorded;
using portmap::Scope;

constexpr std::array<Family, 2> kFamilies = {Family::kV4, Family::kV6};

OwnedTable ownedTable() {
  return inetOwned(ownerMap(Family::kV4, {}));
}

/// What the table has of our sets; nothing without a table.
Result<Frame> readFrame(nft::Connection& nft) {
  Frame frame;
  auto sets = nft.listSets(inetTable());
  if (!sets && sets.error().code == Errc::kNotFound) return frame;
  for (const nft::Set& set : TRY(std::move(sets)))
    frame.note(set.name);
  return frame;
}

std::set<Scope> allScopes(const Frame& frame) {
  std::set<Scope> scopes = frame.scopes;
  scopes.insert(Scope());
  return scopes;
}

/// An owner's mapping and where it is recorded.
struct Entry {
  Scope scope;
  nft::Set index;
  Element element;
  Recorded recorded;
};

std::optional<Entry> toEntry(const Scope& scope, Family family, const nft::Set& index,
                             const Element& element) {
  auto recorded = portmap::parseOwnerElement(family, element);
  if (!recorded) return std::nullopt;
  return Entry{scope, index, element, *std::move(recorded)};
}

/// Of one owner, in one index, as numbered there.
Result<std::vector<Entry>> findIndexed(nft::Connection& nft, const OwnerHash& owner,
                                       const Scope& scope, Family family) {
  constexpr std::size_t kAtOnce = 4;
  const nft::Set index = ownerMap(family, scope);
  std::vector<Entry> entries;
  for (std::size_t first = 0;; first += kAtOnce) {
    std::vector<nft::Connection::ElementQuery> queries;
    for (std::size_t i = first; i < first + kAtOnce; ++i)
      queries.push_back({index, ownerKey(owner, i)});
    for (const auto& element : TRY(nft.findElements(queries))) {
      auto entry = element ? toEntry(scope, family, index, *element) : std::nullopt;
      if (!entry) return entries;
      entries.push_back(*std::move(entry));
    }
  }
}

Result<std::vector<Entry>> findEntries(nft::Connection& nft, const OwnerHash& owner,
                                       const std::set<Scope>& scopes) {
  std::vector<Entry> all;
  for (const Scope& scope : scopes) {
    for (const Family family : kFamilies) {
      for (Entry& entry : TRY(findIndexed(nft, owner, scope, family)))
        all.push_back(std::move(entry));
    }
  }
  return all;
}

/// Takes what `entries` tell of off the path of packets, where it is still of the entry's owner,
/// and the entries themselves.
Result<void> addEntries(nft::Connection& nft, const std::vector<Entry>& entries, Removal& removal) {
  std::vector<nft::Connection::ElementQuery> queries;
  std::vector<const Entry*> owners;
  for (const Entry& entry : entries) {
    removal.add(entry.index, entry.element.key);
    const auto path =
        portmap::pathOf(entry.scope, entry.recorded.mapping, entry.recorded.options, {});
    for (const auto& [set, element] : path) {
      queries.push_back({set, element.key});
      owners.push_back(&entry);
    }
  }
  const auto found = TRY(nft.findElements(queries));
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool isOwn =
        found[i] && parseOwnerTag(found[i]->comment) == parseOwnerTag(owners[i]->element.comment);
    if (isOwn) removal.add(queries[i].set, queries[i].key);
  }
  return {};
}

bool overlaps(const PortMapping& a, const PortMapping& b) {
  return a.protocol == b.protocol && a.hostIp == b.hostIp &&
         a.container.family() == b.container.family() && a.hostPort < b.hostPort + b.count &&
         b.hostPort < a.hostPort + a.count;
}

/// A mapping that loses one of its ports to us goes as a whole: its owner is gone.
Result<void> addEvictions(nft::Connection& nft, const OwnerHash& owner, const Scope& scope,
                          const std::vector<PortMapping>& mappings,
                          const std::vector<Placed>& elements, Removal& removal) {
  std::vector<nft::Connection::ElementQuery> queries;
  for (const auto& [set, element] : elements)
    queries.push_back({set, element.key});
  std::set<OwnerHash> former;
  for (const auto& found : TRY(nft.findElements(queries))) {
    const auto holder = found ? parseOwnerTag(found->comment) : std::nullopt;
    if (holder && *holder != owner) former.insert(*holder);
  }
  std::vector<Entry> lost;
  for (const OwnerHash& holder : former) {
    for (Entry& entry : TRY(findEntries(nft, holder, {scope}))) {
      const bool hit = std::any_of(mappings.begin(), mappings.end(), [&](const PortMapping& m) {
        return overlaps(m, entry.recorded.mapping);
      });
      if (hit) lost.push_back(std::move(entry));
    }
  }
  // The records stay, so that what is numbered behind them is found: they only tell of paths.
  Removal paths;
  TRY(addEntries(nft, lost, paths));
  for (const Entry& entry : lost) {
    for (const auto& [set, element] :
         portmap::pathOf(entry.scope, entry.recorded.mapping, entry.recorded.options, {})) {
      if (paths.contains(set, element.key)) removal.add(set, element.key);
    }
  }
  return {};
}

std::vector<Placed> elementsFor(const Owner& owner, const std::vector<PortMapping>& mappings,
                                const PortmapOptions& options) {
  const std::string tag = ownerTag(owner);
  const Scope scope = portmap::scopeOf(owner.network, options);
  std::size_t numbers[] = {0, 0};
  std::vector<Placed> all;
  for (const PortMapping& mapping : mappings) {
    const Family family = mapping.container.family();
    std::size_t& number = numbers[family == Family::kV4 ? 0 : 1];
    for (Placed& placed : portmap::pathOf(scope, mapping, options, tag))
      all.push_back(std::move(placed));
    all.push_back(
        {ownerMap(family, scope), portmap::ownerElement(owner, number++, mapping, options)});
  }
  return all;
}

/// The filter of the interface that leads to the container. One of the container's own goes with
/// it.
Result<std::vector<Placed>> localnetElements(const Owner& owner, const PortmapOptions& options) {
  if (options.localnetInterface.empty()) return std::vector<Placed>();
  const std::string& name = options.localnetInterface;
  nft::Element element = localnet::element(name, TRY(localnet::isEnabled(name)));
  if (name == hostVethName(owner)) element.comment = ownerTag(owner);
  return std::vector<Placed>{{localnet::set(), std::move(element)}};
}

/// Whatever there is, frame or elements, ours or others', becomes what it should be.
Result<void> replaceElements(nft::Connection& nft, const Owner& owner,
                             const std::vector<PortMapping>& mappings,
                             const PortmapOptions& options, const std::vector<Placed>& shared,
                             nft::Generation seen) {
  const OwnerHash hash = ownerHash(owner);
  const Scope scope = portmap::scopeOf(owner.network, options);
  Frame frame = TRY(readFrame(nft));
  Removal removal;
  const auto own = TRY(findEntries(nft, hash, allScopes(frame)));
  TRY(addEntries(nft, own, removal));
  const auto elements = elementsFor(owner, mappings, options);
  TRY(addEvictions(nft, hash, scope, mappings, elements, removal));
  TRY(addOccupants(nft, elements, removal));

  for (const auto& [set, element] : elements)
    frame.note(set.name);
  nft::Transaction tx = removal.transaction();
  portmap::addFrame(tx, frame, scope, options);
  for (const auto* list : {&elements, &shared}) {
    for (const auto& [set, element] : *list)
      tx.add(set, element);
  }
  return nft.commit(tx, seen);
}

/// An element of `owner`'s own interface, if it has one.
Result<void> addLocalnet(nft::Connection& nft, const Owner& owner, Removal& removal) {
  const auto key = nft::Value::ifName(hostVethName(owner));
  const auto found = TRY(nft.findElements({{localnet::set(), key}})).front();
  if (found && belongsTo(*found, ownerHash(owner))) removal.add(localnet::set(), key);
  return {};
}

std::vector<PortMapping> mappingsOf(const std::vector<Entry>& entries) {
  std::vector<PortMapping> mappings;
  for (const Entry& entry : entries)
    mappings.push_back(entry.recorded.mapping);
  return mappings;
}

/// The records of owners that are to go.
Result<std::vector<Entry>> listInvalid(nft::Connection& nft, const Invalid& invalid) {
  std::vector<Entry> entries;
  const Frame frame = TRY(readFrame(nft));
  for (const Scope& scope : allScopes(frame)) {
    for (const Family family : kFamilies) {
      const nft::Set index = ownerMap(family, scope);
      auto elements = nft.listElements(index);
      if (!elements && elements.error().code == Errc::kNotFound) continue;
      for (const Element& element : TRY(std::move(elements))) {
        auto entry = invalid.owns(element) ? toEntry(scope, family, index, element) : std::nullopt;
        if (entry) entries.push_back(*std::move(entry));
      }
    }
  }
  return entries;
}

/// Listing took a while: only those that are still as they were.
Result<std::vector<Entry>> stillThere(nft::Connection& nft, const std::vector<Entry>& entries) {
  std::vector<nft::Connection::ElementQuery> queries;
  for (const Entry& entry : entries)
    queries.push_back({entry.index, entry.element.key});
  const auto found = TRY(nft.findElements(queries));
  std::vector<Entry> there;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] && *found[i] == entries[i].element) there.push_back(entries[i]);
  }
  return there;
}

/// Interfaces of owners that are to go.
Result<void> addInvalidLocalnet(nft::Connection& nft, const Invalid& invalid, Removal& removal) {
  auto elements = nft.listElements(localnet::set());
  if (!elements && elements.error().code == Errc::kNotFound) return {};
  for (const Element& element : TRY(std::move(elements))) {
    if (invalid.owns(element)) removal.add(localnet::set(), element.key);
  }
  return {};
}

Error missing(const std::string& what) {
  return makeError(Errc::kCheckFailed, "port mapping: " + what);
}

Result<void> checkElements(nft::Connection& nft, const Owner& owner,
                           const std::vector<Placed>& elements) {
  std::vector<nft::Connection::ElementQuery> queries;
  for (const auto& [set, element] : elements)
    queries.push_back({set, element.key});
  const auto found = TRY(nft.findElements(queries));
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto& [set, element] = elements[i];
    const std::string what = set.name + " { " + nft::toText(set.key, element.key) + " }";
    if (!found[i]) return missing(what + " is missing");
    if (!belongsTo(*found[i], ownerHash(owner)))
      return missing(what + " belongs to another: " + found[i]->comment);
    if (found[i]->data != element.data) return missing(what + " leads elsewhere");
  }
  return {};
}

/// Every chain has as many rules as a new one would.
Result<void> checkRules(nft::Connection& nft, const Scope& scope, const PortmapOptions& options) {
  nft::Transaction wanted;
  portmap::addFrame(wanted, TRY(readFrame(nft)), scope, options);
  std::vector<nft::Chain> chains = portmap::baseChains();
  chains.push_back(portmap::mappingChain({}));
  if (!scope.empty()) chains.push_back(portmap::mappingChain(scope));
  for (const nft::Chain& chain : chains) {
    const auto count = std::count_if(
        wanted.operations().begin(), wanted.operations().end(), [&](const auto& operation) {
          const auto* rule = std::get_if<nft::Transaction::RuleOf>(&operation.what);
          return rule != nullptr && rule->chain.name == chain.name;
        });
    const auto have = nft.listRules(chain);
    if (!have || have->size() < static_cast<std::size_t>(count))
      return missing("chain " + chain.name + " has lost rules");
  }
  return {};
}

std::string protocolText(std::uint8_t protocol) {
  return protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : "sctp";
}

std::string portText(std::uint16_t first, std::uint16_t count) {
  const std::string text = std::to_string(first);
  return count == 1 ? text : text + '-' + std::to_string(first + count - 1);
}

std::string endpoint(const std::string& address, const std::string& port) {
  return (address.find(':') == std::string::npos ? address : '[' + address + ']') + ':' + port;
}

}  // namespace

std::string toText(const PortMapping& mapping) {
  const std::string host = mapping.hostIp ? mapping.hostIp->text() : "*";
  return protocolText(mapping.protocol) + ' ' +
         endpoint(host, portText(mapping.hostPort, mapping.count)) + " to " +
         endpoint(mapping.container.address().text(),
                  portText(mapping.containerPort, mapping.count));
}

Result<void> ensurePortmap(nft::Connection& nft, const Owner& owner,
                           const std::vector<PortMapping>& mappings,
                           const PortmapOptions& options) {
  const auto shared = TRY(localnetElements(owner, options));
  const auto elements = elementsFor(owner, mappings, options);
  // Nearly always the frame is there and the elements are not: try that first.
  if (!TRY(createElements(nft, elements, shared).context("map ports"))) {
    const auto attempt = [&](nft::Generation seen) {
      return replaceElements(nft, owner, mappings, options, shared, seen);
    };
    TRY(retryOnConflict(nft, attempt).context("map ports"));
  }
  if (options.localnetInterface.empty()) return {};
  return localnet::enable(options.localnetInterface).context("map ports of localhost");
}

Result<std::vector<PortMapping>> removePortmap(nft::Connection& nft, const Owner& owner) {
  std::vector<PortMapping> mappings;
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    const Frame frame = TRY(readFrame(nft));
    const auto entries = TRY(findEntries(nft, ownerHash(owner), allScopes(frame)));
    mappings = mappingsOf(entries);
    Removal removal;
    TRY(addEntries(nft, entries, removal));
    TRY(addLocalnet(nft, owner, removal));
    if (removal.empty()) return {};
    return commitRemoval(nft, ownedTable(), removal, seen);
  };
  TRY(retryOnConflict(nft, attempt).context("remove port mappings"));
  return mappings;
}

Result<void> checkPortmap(nft::Connection& nft, const Owner& owner,
                          const std::vector<PortMapping>& mappings, const PortmapOptions& options) {
  TRY(checkElements(nft, owner, elementsFor(owner, mappings, options)));
  TRY(checkRules(nft, portmap::scopeOf(owner.network, options), options));
  const std::string& name = options.localnetInterface;
  if (name.empty()) return {};
  const auto key = nft::Value::ifName(name);
  if (!TRY(nft.findElements({{localnet::set(), key}})).front())
    return missing("'" + name + "' is not protected from packets to 127.0.0.0/8");
  if (!TRY(localnet::isEnabled(name))) return missing("route_localnet of '" + name + "' is off");
  return {};
}

Result<std::vector<PortMapping>> collectPortmap(nft::Connection& nft, const std::string& network,
                                                const std::set<Attachment>& valid) {
  const Invalid invalid(network, valid);
  const auto candidates = TRY(listInvalid(nft, invalid));
  std::vector<PortMapping> mappings;
  if (candidates.empty()) return mappings;
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    const auto entries = TRY(stillThere(nft, candidates));
    mappings = mappingsOf(entries);
    Removal removal;
    TRY(addEntries(nft, entries, removal));
    TRY(addInvalidLocalnet(nft, invalid, removal));
    if (removal.empty()) return {};
    return commitRemoval(nft, ownedTable(), removal, seen);
  };
  TRY(retryOnConflict(nft, attempt).context("collect the port mappings of network " + network));
  return mappings;
}

}  // namespace culvert::hostfw
