#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemons/routing/devices.h"
#include "daemons/routing/key_ring.h"
#include "daemons/routing/model.h"
#include "daemons/routing/neighbourhood.h"
#include "daemons/routing/node_table.h"
#include "daemons/routing/plan.h"
#include "daemons/routing/underlay.h"

namespace culvert::routing {

/// Makes the kernel of the namespace it was opened in what the model says. Synchronous: thousands
/// of changes take milliseconds. Nothing that is not ours is changed, and nothing is removed on
/// exit.
class Programmer {
 public:
  /// `keyFile`: of WireGuard (KeyRing); read or made when it is first used.
  static Result<std::unique_ptr<Programmer>> open(const std::string& node, const Settings& settings,
                                                  const std::string& keyFile);

  struct Outcome {
    std::size_t changes = 0;  // sent to the kernel
    std::vector<Error> failures;
  };

  /// Looks at the host's network and at all that is ours in the kernel, and programs the
  /// difference: after a start, an overrun, a change that concerns all peers.
  Result<Outcome> programAll(const Model& model);
  /// Only these peers, without asking the kernel what it has.
  Result<Outcome> programPeers(const Model& model, const std::set<std::string>& peers);

  const Surroundings& surroundings() const { return here_; }
  const PerFamily<std::string>& underlayReasons() const { return why_; }
  const std::map<std::string, PeerPlan>& plans() const { return plans_; }
  /// Largest packet that pods may send, in bytes; 0 before there is an underlay.
  std::uint32_t podMtu() const { return podMtu_; }
  /// This node's WireGuard keys, which peers need to know; null without WireGuard.
  const KeyRing* keys() const { return keys_ ? &*keys_ : nullptr; }
  /// How long until programAll() has something to do by the clock alone; nothing: never.
  std::optional<std::chrono::nanoseconds> untilNextLook() const;
  /// Whether it is one of our VXLAN devices, whose forwarding entries are all ours.
  bool isOurs(netlink::IfIndex link) const {
    return link == here_.devices.vxlan.v4 || link == here_.devices.vxlan.v6;
  }
  /// Another's neighbour entry is new or has changed: true if programAll() may find other paths.
  bool hearNeighbour(const netlink::NeighbourSpec& neighbour);
  /// By which a Monitor tells our own changes from others' (netlink::Event::port).
  std::uint32_t port() { return rtnl_.socket().port(); }
  /// Likewise, for a nft::Watch. Needed unless the kernel protects the table.
  std::uint32_t nftPort() const { return nft_.port(); }
  bool tableIsProtected() const { return table_.isProtected(); }

 private:
  Programmer(netlink::Rtnl rtnl, nft::Connection nft, const std::string& node,
             const Settings& settings, const std::string& keyFile);
  Result<void> turnKeys(const Model& model);
  Result<void> applyWireguard(Outcome& outcome);
  Result<void> applyWireguard(std::size_t slot, Outcome& outcome);
  Result<void> refresh(const Model& model, Outcome& outcome);
  Result<void> refreshDevices(Outcome& outcome);
  void planAll(const Model& model);
  void plan(const Model& model, const std::string& peer);
  Result<void> apply(const std::vector<netlink::Change>& changes, Outcome& outcome);
  Result<void> ensureTable(const Model& model);
  /// False if a network is of a length that has no set yet.
  bool noteMembers(const Model& model, const std::string& node, NodeTable::Members& before,
                   NodeTable::Members& now);
  NodeTable::Members membersOf(const Model& model, const std::string& node) const;
  bool isWide(const IpPrefix& network) const;
  bool haveSets(const NodeTable::Members& members) const;
  std::set<IpPrefix> encryptedOf(const std::string& node) const;
  NodeRules rulesOf(const Model& model);
  Reach reach(const IpAddress& endpoint);
  Result<void> refreshNeighbours(const HostNetwork& host);
  void askLater(netlink::IfIndex link, const IpAddress& address);
  void askNeighbours();

  netlink::Rtnl rtnl_;
  nft::Connection nft_;
  NodeTable table_{nft_};
  Surroundings here_;
  PerFamily<std::string> why_;
  std::uint32_t podMtu_ = 0;
  std::vector<TunnelRule> rules_;
  std::vector<DeviceSpec> wanted_;  // our devices
  std::vector<IpPrefix>
      wide_;  // networks of pods that many nodes share: pools, and configured ones
  std::map<std::string, PeerPlan> plans_;
  std::set<std::pair<Family, std::uint8_t>> lengths_;  // of networks that have a set
  std::set<std::pair<Family, std::uint8_t>> encryptedLengths_;
  std::map<std::string, NodeTable::Members> members_;  // of each node, as they are in the table
  std::map<IpAddress, std::size_t> letIn_;             // how many nodes have the endpoint
  std::map<IpAddress, Reach> reaches_;
  Neighbourhood neighbourhood_;
  std::set<IpAddress> asked_;                                  // whether they are neighbours
  std::vector<std::pair<netlink::IfIndex, IpAddress>> toAsk_;  // after this pass
  Fib own_;
  NexthopIds ids_;
  std::string keyFile_;
  KeyRotation rotation_;
  std::optional<KeyRing> keys_;
};

}  // namespace culvert::routing
