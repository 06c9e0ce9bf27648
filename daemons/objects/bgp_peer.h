#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/objects/bgp_types.h"
#include "daemons/objects/selector.h"

namespace culvert::objects {

enum class NextHopMode : std::uint8_t { kAuto, kSelf, kKeep };

/// culvert.dev/v1 BGPPeer, with the fields of Calico's projectcalico.org/v3: which nodes peer, and
/// with whom: a router (peerIp and asNumber) or other nodes (peerSelector).
struct BgpPeer {
  std::string name;
  std::string node;       // the one node that peers, or
  Selector nodeSelector;  // those that do
  std::optional<IpAddress> peerIp;
  std::uint16_t peerPort = 0;  // 0: that of BGP, or of the configuration for nodes
  AsNumber asNumber = 0;       // 0 with a peerSelector: the other node's
  std::optional<Selector> peerSelector;
  AsNumber localAsNumber = 0;  // 0: the node's
  NextHopMode nextHopMode = NextHopMode::kAuto;
  std::optional<SecretKeyRef> password;
  bool sourceNodeIp = true;                            // sourceAddress: UseNodeIP
  std::optional<std::chrono::seconds> maxRestartTime;  // 1..4095
  std::optional<std::chrono::seconds> keepaliveTime;   // 1..21845, a third of the hold time
  std::uint32_t numAllowedLocalAsNumbers = 0;          // 0..255
  std::uint8_t ttlSecurity = 0;                        // hops; 0: off
  std::optional<IpAddress> reachableBy;                // the gateway to peerIp
  std::vector<std::string> filters;                    // names of BGPFilters, first match decides
  bool reversePeering = true;  // Auto: nodes of peerSelector peer with us as well
  // Culvert's own.
  BfdOptions bfd;
  std::optional<PrefixLimit> importLimit;
  std::optional<PrefixLimit> exportLimit;
  std::optional<GracefulRestart> gracefulRestart;

  /// kInvalidConfig naming every problem with its path. localWorkloadSelector is refused.
  static Result<BgpPeer> parse(const nlohmann::json& object);
  bool selects(const std::string& nodeName, const Labels& labels) const {
    return node.empty() ? nodeSelector.matches(labels) : node == nodeName;
  }
  bool operator==(const BgpPeer&) const = default;
};

}  // namespace culvert::objects
