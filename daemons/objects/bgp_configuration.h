#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/objects/bgp_types.h"

namespace culvert::objects {

/// culvert.dev/v1 BGPConfiguration, with the fields of Calico's projectcalico.org/v3: "default"
/// holds for the cluster, "node.NAME" overrides for one node what is set there. What is unset is
/// nullopt, so that one can lie over the other; the defaults are the constants below.
struct BgpConfiguration {
  /// Prefixes that a community is put on when they are announced.
  struct Advertisement {
    IpPrefix cidr;
    std::vector<BgpCommunity> communities;
    bool operator==(const Advertisement&) const = default;
  };

  std::string name;
  std::optional<bool> nodeToNodeMeshEnabled;
  std::optional<AsNumber> asNumber;
  std::optional<std::uint16_t> listenPort;
  std::optional<bool> bindNodeIp;  // bindMode: NodeIP
  std::vector<IpPrefix> serviceClusterIps;
  std::vector<IpPrefix> serviceExternalIps;
  std::vector<IpPrefix> serviceLoadBalancerIps;
  std::optional<bool> serviceLoadBalancerAggregation;
  std::vector<Advertisement> prefixAdvertisements;  // with the names of communities resolved
  std::vector<std::string> ignoredInterfaces;       // patterns with * and ?
  std::optional<SecretKeyRef> nodeMeshPassword;
  std::optional<std::chrono::seconds> nodeMeshMaxRestartTime;
  std::optional<std::uint32_t> ipv4NormalRoutePriority;  // 1..2147483646, the kernel's metric
  std::optional<std::uint32_t> ipv6NormalRoutePriority;
  std::string logSeverityScreen;  // Debug, Info, Warning, Error, Fatal, None
  // Culvert's own.
  std::optional<std::uint32_t> meshMaxNodes;       // 1..5000: above it, route reflectors
  std::optional<std::uint32_t> reflectorsPerZone;  // 2..3
  std::optional<std::uint16_t> reflectorPort;      // where reflectors listen for their clients
  std::vector<IpPrefix> nodeRanges;                // where nodes' addresses come from
  std::optional<BfdOptions> bfd;                   // between the nodes
  std::optional<GracefulRestart> gracefulRestart;  // for every session without its own

  /// kInvalidConfig naming every problem with its path. Fields of Calico's that mean nothing here
  /// (localWorkloadPeeringIPV4/6, programClusterRoutes) are checked, and otherwise ignored.
  static Result<BgpConfiguration> parse(const nlohmann::json& object);
  /// This one's fields where they are set, otherwise `base`'s.
  BgpConfiguration over(const BgpConfiguration& base) const;
  bool operator==(const BgpConfiguration&) const = default;
};

inline constexpr AsNumber kDefaultAsNumber = 64512;
inline constexpr std::uint16_t kBgpPort = 179;
inline constexpr std::uint16_t kReflectorPort = 1179;
inline constexpr std::uint32_t kDefaultRoutePriority = 1024;
inline constexpr std::uint32_t kDefaultMeshMaxNodes = 100;
inline constexpr std::uint32_t kDefaultReflectorsPerZone = 2;

}  // namespace culvert::objects
