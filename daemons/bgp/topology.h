#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "daemons/objects/bgp_types.h"
#include "daemons/objects/selector.h"

namespace culvert::bgp {

/// What BGP needs to know of a node.
struct Node {
  std::string name;
  objects::Labels labels;
  std::optional<IpPrefix> ipv4;  // its address, with the length of its link's prefix
  std::optional<IpPrefix> ipv6;
  objects::AsNumber asNumber = 0;               // 0: the cluster's
  std::optional<IpAddress> reflectorClusterId;  // routeReflectorClusterID: it is a reflector
  std::vector<IpPrefix> podBlocks;              // confirmed to be its own
  bool ready = true;                            // may be elected; false while it is drained
  bool settled = true;  // published: its sessions of the wanted topology are up

  const std::optional<IpPrefix>& address(Family family) const {
    return family == Family::kV4 ? ipv4 : ipv6;
  }
  std::string zone() const;  // topology.kubernetes.io/zone, or empty
};

/// How nodes of the cluster peer with each other. Both at once while one replaces the other.
struct Topology {
  bool mesh = false;
  bool reflectors = false;
  bool operator==(const Topology&) const = default;
};

/// Mesh up to `maxNodes`, reflectors above; once there are reflectors, until a tenth fewer.
Topology wantedTopology(std::size_t nodes, std::uint32_t maxNodes,
                        const std::optional<Topology>& current);

/// Make before break: both, while `settled` (here and at all other nodes) is not yet true.
Topology nextTopology(const std::optional<Topology>& current, const Topology& wanted, bool settled);

/// The clients a reflector should not have more of; a larger zone gets more reflectors.
inline constexpr std::size_t kClientsPerReflector = 500;

/// Names of the nodes that reflect, sorted: those with a cluster id if there are any, otherwise at
/// least `perZone` of each zone, elected by rendezvous hashing: every node comes to the same
/// result, and a node that comes or goes changes it for no more than its own place.
std::vector<std::string> chooseReflectors(const std::vector<Node>& nodes, std::size_t perZone);

/// Which of `reflectors` (sorted) a node is a client of: up to `perZone` of its zone's, or of all
/// where its zone has none. Those with a cluster id are the operator's choice: all of the zone's.
std::vector<std::string> reflectorsOf(const Node& client, const std::vector<Node>& nodes,
                                      const std::vector<std::string>& reflectors,
                                      std::size_t perZone);

}  // namespace culvert::bgp
