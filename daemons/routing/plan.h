#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemons/objects/ip_pool.h"
#include "daemons/objects/node.h"
#include "daemons/routing/fib.h"
#include "daemons/routing/path.h"
#include "daemons/routing/settings.h"
#include "daemons/routing/wireguard_peers.h"

/// From what the source says and what the underlay is to what the kernel should hold: pure.
namespace culvert::routing {

/// The interfaces of ours that a plan refers to; kNone where there is none.
struct Devices {
  netlink::IfIndex vxlanL3 = netlink::IfIndex::kNone;
  PerFamily<netlink::IfIndex> vxlan;  // by the family of the outer packet
  netlink::IfIndex ipip = netlink::IfIndex::kNone;
  PerSlot<netlink::IfIndex> wireguard{};
  bool operator==(const Devices&) const = default;
};

/// What all peers' plans have in common.
struct Surroundings {
  std::string thisNode;
  Settings settings;
  std::vector<objects::IpPool> pools;
  Underlay underlay;
  Devices devices;
  /// The address by which this node itself speaks to pods elsewhere: the first of its own block,
  /// so that the answer takes the same way back.
  PerFamily<std::optional<IpAddress>> hostAddress;
  /// The MAC addresses by which this node's object says that its VXLAN devices are reached, whoever
  /// wrote it.
  PerFamily<std::optional<MacAddress>> publishedMac;
  std::size_t wireguardSlot = 0;    // to send by (KeyRotation)
  bool wireguardWarmingUp = false;  // the other one's turn comes soon
  Reachability reach;
};

/// Whether `network` is `wide` or lies within it.
bool covers(const IpPrefix& wide, const IpPrefix& network);
/// The longest pool that contains the network; null if none does.
const objects::IpPool* poolOf(const Surroundings& here, const IpPrefix& network);
/// The rule for a network of pods: that of the longest pool that contains it, or the settings'.
TunnelRule ruleFor(const Surroundings& here, const IpPrefix& network);

struct PeerPlan {
  struct Use {
    Family pods = Family::kV4;
    TunnelRule rule;
    Path path;
    std::vector<IpPrefix> networks;
    bool operator==(const Use&) const = default;
  };
  std::vector<Use> uses;
  Fib fib;
  PerSlot<WireguardPeers> wireguard;  // at most this one in each
};

/// A number for each next hop, the same in each life of the daemon (unless two names collide, which
/// the next free number settles), so that what an earlier one programmed needs no change.
class NexthopIds {
 public:
  std::uint32_t of(const std::string& what);

 private:
  std::map<std::string, std::uint32_t> ids_;
  std::set<std::uint32_t> taken_;
};

/// What the kernel needs for the pods of `peer` in `networks`.
PeerPlan planPeer(const Surroundings& here, const objects::Node& peer,
                  const std::vector<IpPrefix>& networks, NexthopIds& ids);

/// The MAC address of a node's VXLAN device: the same for ever, as it follows from the name.
MacAddress vtepMac(const std::string& node, Family outer);

/// That of this node's own one: what others read of it, or else the one that follows from its name.
/// So a device that flannel made keeps its address, and nobody has to learn another.
MacAddress ownVtepMac(const Surroundings& here, Family outer);

/// What the kernel needs for this node's own networks: packets to addresses that no pod has end
/// here instead of going in circles.
Fib planOwn(const std::vector<IpPrefix>& networks);

}  // namespace culvert::routing
