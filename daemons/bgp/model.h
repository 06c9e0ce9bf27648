#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/bgp/bird_config.h"
#include "daemons/bgp/topology.h"
#include "daemons/objects/bgp_configuration.h"
#include "daemons/objects/bgp_filter.h"
#include "daemons/objects/bgp_peer.h"

namespace culvert::bgp {

/// Everything that BGP on this node follows from. The order of lists has no influence, but that of
/// a peer's filters.
struct BgpInput {
  std::string thisNode;
  std::vector<Node> nodes;  // with this one
  std::vector<objects::BgpConfiguration> configurations;
  std::vector<objects::BgpPeer> peers;
  std::vector<objects::BgpFilter> filters;
  std::vector<IpPrefix> services;          // to be announced from here: announcements() decides
  std::vector<IpPrefix> clusterPrefixes;   // the pools that pods' addresses are from
  std::vector<std::string> podInterfaces;  // patterns; our own kinds when empty
  std::map<std::string, std::string> passwords;  // by SecretKeyRef::text()
  std::optional<Topology> topology;              // that runs now; none when BIRD has never run here
  bool settled = false;  // this node's sessions of the wanted topology are established
};

/// Something about one object that kept it from having its effect. The rest has its own.
struct Problem {
  std::string object;  // "BGPPeer tor-1"
  std::string message;
  auto operator<=>(const Problem&) const = default;
};

struct BgpModel {
  BirdConfig config;
  Topology topology;      // of config; comes back as BgpInput::topology
  bool changing = false;  // the old topology's sessions stay until all nodes are settled
  std::vector<std::string> reflectors;  // names of nodes; empty when meshed
  std::vector<Problem> problems;
};

/// Pure. kNotFound if thisNode is not among the nodes, kNotAvailable if it has no address yet.
///
/// Nodes peer in a mesh, or above meshMaxNodes through reflectors, unless nodeToNodeMeshEnabled is
/// false. Nodes with a cluster id leave the mesh (as in Calico: BGPPeers connect them). Reflectors
/// listen on a port of their own (reflectorPort), so that sessions with them come up beside those
/// of the mesh before these go; there they take any client from nodeRanges (by default the /24 and
/// /64 around nodes' addresses), so that their configuration does not grow with the cluster. Of
/// two nodes, the one with the lower address connects.
Result<BgpModel> model(const BgpInput& input);

}  // namespace culvert::bgp
