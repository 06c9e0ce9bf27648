#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "daemons/objects/node.h"
#include "netlink/nft.h"

/// The table `inet culvert_routing`: which packets of pods are masqueraded, whose tunnel packets
/// are let in, and what must not go unencrypted. docs/routing.md shows it.
namespace culvert::routing {

struct NodeRules {
  std::vector<IpPrefix> masqueraded;  // sources: pods that may speak to the world
  std::vector<IpPrefix> pods;  // destinations that see the pod's own address: the few wide ones
  std::set<std::pair<Family, std::uint8_t>> lengths;  // of the others, which are set elements
  std::set<std::pair<Family, std::uint8_t>> encryptedLengths;  // of networks behind WireGuard
  std::vector<IpPrefix> excluded;                              // likewise, by configuration
  std::vector<std::string> tunnels;  // our devices: what the host sends into them by another
                                     // address than a pod's gets one that finds the way back
  std::vector<std::uint16_t> ports;  // UDP, of the tunnels: only peers may send to them
  bool operator==(const NodeRules&) const = default;
};

class NodeTable {
 public:
  explicit NodeTable(nft::Connection& nft) : nft_(nft) {}

  static nft::Table table();

  /// Makes the rules what they should be, in one transaction; none if they are already. Takes
  /// possession of the table where the kernel can do that.
  Result<void> ensureRules(const NodeRules& rules);
  /// Whether the kernel keeps everybody else from changing the table.
  bool isProtected() const { return protected_; }
  /// What is in the sets: the difference to what is there. `peers` may send to the tunnels' ports,
  /// `networks` are pods' besides the wide ones, `encrypted` those whose packets come and leave by
  /// WireGuard or not at all.
  struct Members {
    std::set<IpAddress> peers;
    std::set<IpPrefix> networks;
    std::set<IpPrefix> encrypted;
  };
  Result<void> ensureMembers(const NodeRules& rules, const Members& members);
  /// One transaction; the sets must be there. Nothing is sent for equal ones.
  Result<void> changeMembers(const Members& before, const Members& now);
  /// Removes the table. False if there was none.
  Result<bool> remove();

 private:
  Result<bool> own();
  Result<bool> hasRules(const nft::Transaction& tx, const std::string& digest);

  nft::Connection& nft_;
  bool tried_ = false;  // to own the table that was there at first
  bool protected_ = false;
};

/// The transaction behind ensureRules(): pure. The number of rules does not depend on that of
/// nodes.
nft::Transaction renderRules(const NodeRules& rules, const std::string& digest);

}  // namespace culvert::routing
