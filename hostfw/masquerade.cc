#include "hostfw/masquerade.h"

#include <algorithm>
#include <optional>

#include "hostfw/inet_table.h"
#include "hostfw/masquerade_table.h"
#include "hostfw/owned_table.h"

namespace culvert::hostfw {
namespace {

using masquerade::kFamilies;
using masquerade::Lengths;
using masquerade::ownerMap;
using masquerade::sourceSet;
using masquerade::subnetKey;
using masquerade::subnetSet;
using nft::Element;
using nft::Transaction;

OwnedTable ownedTable() {
  return inetOwned(ownerMap(Family::kV4));
}

/// What the owner map has for `owner`, as numbered there.
Result<std::vector<IpPrefix>> findIndexed(nft::Connection& nft, const OwnerHash& owner,
                                          Family family) {
  constexpr std::size_t kAtOnce = 4;
  std::vector<IpPrefix> prefixes;
  for (std::size_t first = 0;; first += kAtOnce) {
    std::vector<nft::Connection::ElementQuery> queries;
    for (std::size_t i = first; i < first + kAtOnce; ++i)
      queries.push_back({ownerMap(family), ownerKey(owner, i)});
    for (const auto& element : TRY(nft.findElements(queries))) {
      const auto prefix = element ? masquerade::parseOwnerData(family, *element) : std::nullopt;
      if (!prefix) return prefixes;
      prefixes.push_back(*prefix);
    }
  }
}

/// The elements that packets meet, as far as they are there.
struct Path {
  std::optional<Element> source;
  std::optional<Element> subnet;
};

Result<Path> findPath(nft::Connection& nft, const IpPrefix& prefix) {
  const Family family = prefix.family();
  auto found = TRY(nft.findElements({{sourceSet(family), prefix.address()},
                                     {subnetSet(family, prefix.length()), subnetKey(prefix)}}));
  return Path{std::move(found[0]), std::move(found[1])};
}

Result<Lengths> listLengths(nft::Connection& nft) {
  Lengths lengths;
  auto sets = nft.listSets(masquerade::table());
  if (!sets && sets.error().code == Errc::kNotFound) return lengths;
  for (const nft::Set& set : TRY(std::move(sets)))
    masquerade::noteLength(set, lengths);
  return lengths;
}

/// Takes the addresses of `owner` off the path of packets, where they are still its own, and out
/// of the map.
Result<void> addOwn(nft::Connection& nft, const OwnerHash& owner, Removal& removal) {
  for (const Family family : kFamilies) {
    const auto prefixes = TRY(findIndexed(nft, owner, family));
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
      const Path path = TRY(findPath(nft, prefixes[i]));
      if (path.source && belongsTo(*path.source, owner))
        removal.add(sourceSet(family), path.source->key);
      if (path.subnet && belongsTo(*path.subnet, owner))
        removal.add(subnetSet(family, prefixes[i].length()), path.subnet->key);
      removal.add(ownerMap(family), ownerKey(owner, i));
    }
  }
  return {};
}

/// Takes `address` off the path of packets if it is another owner's. Returns that owner's tag.
Result<std::optional<std::string>> addForeign(nft::Connection& nft, const OwnerHash& owner,
                                              const IpAddress& address, Lengths lengths,
                                              Removal& removal) {
  const Family family = address.family();
  const auto source = TRY(nft.findElements({{sourceSet(family), address}})).front();
  if (!source || belongsTo(*source, owner)) return std::optional<std::string>();
  removal.add(sourceSet(family), source->key);
  for (const std::uint8_t length : lengths.of(family)) {
    const auto key = subnetKey({address, length});
    const nft::Set set = subnetSet(family, length);
    if (TRY(nft.findElements({{set, key}})).front()) removal.add(set, key);
  }
  return std::optional(source->comment);
}

/// Numbers what is left of a former owner's addresses anew: `removal` takes out all of them,
/// `kept` puts back those that are not in `taken`.
Result<void> addEviction(nft::Connection& nft, const std::string& tag,
                         const std::vector<IpPrefix>& taken, Removal& removal,
                         std::vector<Placed>& kept) {
  const auto owner = parseOwnerTag(tag);
  if (!owner) return {};
  for (const Family family : kFamilies) {
    std::size_t number = 0;
    const auto prefixes = TRY(findIndexed(nft, *owner, family));
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
      removal.add(ownerMap(family), ownerKey(*owner, i));
      const bool isTaken = std::any_of(taken.begin(), taken.end(), [&](const IpPrefix& prefix) {
        return prefix.address() == prefixes[i].address();
      });
      if (isTaken) continue;
      kept.push_back({ownerMap(family),
                      {ownerKey(*owner, number++), masquerade::ownerData(prefixes[i]), tag}});
    }
  }
  return {};
}

/// Whatever there is, frame or elements, ours or others', becomes what it should be.
Result<void> replaceElements(nft::Connection& nft, const Owner& owner,
                             const std::vector<IpPrefix>& addresses, nft::Generation seen) {
  const OwnerHash hash = ownerHash(owner);
  Lengths lengths = TRY(listLengths(nft));
  Removal removal;
  std::set<std::string> formerTags;
  TRY(addOwn(nft, hash, removal));
  for (const IpPrefix& prefix : addresses) {
    const auto tag = TRY(addForeign(nft, hash, prefix.address(), lengths, removal));
    if (tag) formerTags.insert(*tag);
  }
  auto elements = masquerade::elementsFor(owner, addresses);
  for (const std::string& tag : formerTags)
    TRY(addEviction(nft, tag, addresses, removal, elements));

  TRY(addOccupants(nft, elements, removal));

  for (const IpPrefix& prefix : addresses)
    lengths.of(prefix.family()).insert(prefix.length());
  Transaction tx = removal.transaction();
  masquerade::addFrame(tx, lengths);
  for (const auto& [set, element] : elements)
    tx.add(set, element);
  return nft.commit(tx, seen);
}

}  // namespace

Result<void> ensureMasquerade(nft::Connection& nft, const Owner& owner,
                              const std::vector<IpPrefix>& addresses) {
  if (addresses.empty()) return removeMasquerade(nft, owner);
  // Nearly always the frame is there and the elements are not: try that first.
  const auto elements = masquerade::elementsFor(owner, addresses);
  if (TRY(createElements(nft, elements).context("masquerade"))) return {};
  const auto attempt = [&](nft::Generation seen) {
    return replaceElements(nft, owner, addresses, seen);
  };
  return retryOnConflict(nft, attempt).context("masquerade");
}

Result<void> removeMasquerade(nft::Connection& nft, const Owner& owner) {
  const OwnerHash hash = ownerHash(owner);
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    Removal removal;
    TRY(addOwn(nft, hash, removal));
    if (removal.empty()) return {};
    return commitRemoval(nft, ownedTable(), removal, seen);
  };
  return retryOnConflict(nft, attempt).context("stop masquerading");
}

Result<std::vector<IpPrefix>> findMasquerade(nft::Connection& nft, const Owner& owner) {
  const OwnerHash hash = ownerHash(owner);
  std::vector<IpPrefix> addresses;
  for (const Family family : kFamilies) {
    for (const IpPrefix& prefix : TRY(findIndexed(nft, hash, family))) {
      const Path path = TRY(findPath(nft, prefix));
      const bool isWhole = path.source && belongsTo(*path.source, hash) && path.subnet &&
                           belongsTo(*path.subnet, hash);
      if (isWhole) addresses.push_back(prefix);
    }
  }
  std::sort(addresses.begin(), addresses.end());
  return addresses;
}

Result<std::size_t> collectMasquerade(nft::Connection& nft, const std::string& network,
                                      const std::set<Attachment>& valid) {
  return collectInvalid(nft, ownedTable(), network, valid,
                        {sourceSet(Family::kV4), sourceSet(Family::kV6)}, masquerade::isSetName)
      .context("collect the masquerading of network " + network);
}

}  // namespace culvert::hostfw
