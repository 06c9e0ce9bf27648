#include "hostfw/spoof_check.h"

#include <net/if.h>

#include <optional>

#include "hostfw/owned_table.h"
#include "hostfw/spoof_check_table.h"

namespace culvert::hostfw {
namespace {

using nft::Element;
using nft::Transaction;
using nft::Value;
using spoof_check::allowedSet;
using spoof_check::guardedSet;
using spoof_check::macMap;

OwnedTable ownedTable() {
  return {spoof_check::table(), {spoof_check::prerouting().name, "forward"}, {macMap()}};
}

/// What the table knows of an interface.
struct Guard {
  std::optional<Element> guarded;
  std::optional<Element> mac;
  std::optional<Element> allowed;  // of the address in `mac`

  MacAddress macAddress() const {
    const auto* value = mac ? std::get_if<Value>(&mac->data) : nullptr;
    return value == nullptr ? MacAddress() : value->macAddress();
  }
  bool isOwnedBy(const OwnerHash& owner) const { return guarded && belongsTo(*guarded, owner); }
  void addTo(Removal& removal) const {
    if (guarded) removal.add(guardedSet(), guarded->key);
    if (allowed) removal.add(allowedSet(), allowed->key);
    if (mac) removal.add(macMap(), mac->key);
  }
};

Result<Guard> findGuard(nft::Connection& nft, const std::string& ifName) {
  const Value key = Value::ifName(ifName);
  auto found = TRY(nft.findElements({{guardedSet(), key}, {macMap(), key}}));
  Guard guard{std::move(found[0]), std::move(found[1]), {}};
  if (!guard.mac) return guard;
  const Element allowed = spoof_check::allowed(ifName, guard.macAddress());
  guard.allowed = std::move(TRY(nft.findElements({{allowedSet(), allowed.key}})).front());
  return guard;
}

std::vector<Placed> elementsFor(const Owner& owner, const std::string& ifName,
                                const MacAddress& mac) {
  const std::string tag = ownerTag(owner);
  return {{guardedSet(), spoof_check::guarded(ifName, tag)},
          {allowedSet(), spoof_check::allowed(ifName, mac, tag)},
          {macMap(), spoof_check::macOf(ifName, mac, tag)}};
}

/// Whatever there is, frame or elements, becomes what it should be.
Result<void> replaceGuard(nft::Connection& nft, const std::string& ifName,
                          const std::vector<Placed>& elements, nft::Generation seen) {
  Removal removal;
  TRY(findGuard(nft, ifName)).addTo(removal);
  TRY(addOccupants(nft, elements, removal));
  Transaction tx = removal.transaction();
  spoof_check::addFrame(tx);
  for (const auto& [set, element] : elements)
    tx.add(set, element);
  return nft.commit(tx, seen);
}

}  // namespace

Result<void> ensureSpoofCheck(nft::Connection& nft, const Owner& owner,
                              const std::string& hostIfName, const MacAddress& mac) {
  if (hostIfName.empty() || hostIfName.size() >= IFNAMSIZ) {
    return makeError(Errc::kInvalidConfig, "'" + hostIfName + "' cannot be an interface's name");
  }
  // Nearly always the frame is there and the elements are not: try that first.
  const std::vector<Placed> elements = elementsFor(owner, hostIfName, mac);
  const std::string doing = "guard " + hostIfName;
  if (TRY(createElements(nft, elements).context(doing))) return {};
  const auto attempt = [&](nft::Generation seen) {
    return replaceGuard(nft, hostIfName, elements, seen);
  };
  return retryOnConflict(nft, attempt).context(doing);
}

Result<void> removeSpoofCheck(nft::Connection& nft, const Owner& owner,
                              const std::string& hostIfName) {
  const OwnerHash hash = ownerHash(owner);
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    const Guard guard = TRY(findGuard(nft, hostIfName));
    if (!guard.isOwnedBy(hash)) return {};
    Removal removal;
    guard.addTo(removal);
    return commitRemoval(nft, ownedTable(), removal, seen);
  };
  return retryOnConflict(nft, attempt).context("lift the guard of " + hostIfName);
}

Result<bool> hasSpoofCheck(nft::Connection& nft, const Owner& owner, const std::string& hostIfName,
                           const MacAddress& mac) {
  const Guard guard = TRY(findGuard(nft, hostIfName));
  return guard.isOwnedBy(ownerHash(owner)) && guard.allowed && guard.macAddress() == mac;
}

Result<std::size_t> collectSpoofCheck(nft::Connection& nft, const std::string& network,
                                      const std::set<Attachment>& valid) {
  return collectInvalid(nft, ownedTable(), network, valid, {guardedSet()},
                        [](const std::string&) { return true; })
      .context("collect the guards of network " + network);
}

}  // namespace culvert::hostfw
