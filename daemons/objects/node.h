#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "base/result.h"
#include "daemons/objects/metadata.h"

namespace culvert::objects {

/// One value for each address family, and how to reach it by family.
template <class T>
struct PerFamily {
  T v4{}, v6{};
  T& of(Family family) { return family == Family::kV4 ? v4 : v6; }
  const T& of(Family family) const { return family == Family::kV4 ? v4 : v6; }
  bool operator==(const PerFamily&) const = default;
};

/// Annotations that Culvert writes on its own node, and reads on others.
namespace annotations {
inline constexpr const char* kEndpointV4 = "culvert.dev/ipv4-endpoint";  // "198.18.0.1"
inline constexpr const char* kEndpointV6 = "culvert.dev/ipv6-endpoint";
inline constexpr const char* kTunnels =
    "culvert.dev/tunnels";  // "vxlan-l3,vxlan": what it receives
inline constexpr const char* kWireguardKeys = "culvert.dev/wireguard-keys";  // one of each slot
inline constexpr const char* kWireguardPort = "culvert.dev/wireguard-port";
inline constexpr const char* kRegistered = "culvert.dev/registered";  // "true": by culvertd itself
/// Set by operators, for BGP; Calico's of the same meaning count as well.
inline constexpr const char* kAsNumber = "culvert.dev/as-number";  // "64512"
inline constexpr const char* kReflectorClusterId = "culvert.dev/route-reflector-cluster-id";
/// Set by operators: the address of a pod's node that peers send to, if it is none of the node's.
inline constexpr const char* kEndpointOverrideV4 = "culvert.dev/ipv4-endpoint-override";
inline constexpr const char* kEndpointOverrideV6 = "culvert.dev/ipv6-endpoint-override";
}  // namespace annotations

/// How a classic VXLAN device of a node is addressed: what flannel and Calico publish.
struct Vtep {
  MacAddress mac;
  std::optional<std::uint32_t> vni;
  bool operator==(const Vtep&) const = default;
};

/// A node, reduced to what routing needs (core/v1 Node, and annotations: ours, flannel's,
/// Calico's).
struct Node {
  Metadata meta;                   // without annotations: what matters of them is below
  std::vector<IpPrefix> podCidrs;  // spec.podCIDRs, or spec.podCIDR: networks, without host bits
  PerFamily<std::optional<IpAddress>> internal;  // status.addresses, type InternalIP, the first
  PerFamily<std::optional<IpAddress>> endpoint;  // where peers send to
  std::vector<std::string> tunnels;  // kinds it receives; empty: unknown, take what the pool says
  PerFamily<std::optional<Vtep>> vtep;
  std::vector<std::string> wireguardKeys;       // base64, by slot (routing/key_rotation.h)
  std::uint16_t wireguardPort = 0;              // of slot 0; 0: the default
  std::uint32_t asNumber = 0;                   // 0: the cluster's
  std::optional<IpAddress> reflectorClusterId;  // IPv4: it is a route reflector
  bool registered = false;   // by its culvertd, which holds a lease for it (etcd)
  bool deleting = false;     // metadata.deletionTimestamp is set
  bool toBeDeleted = false;  // taint ToBeDeletedByClusterAutoscaler
  bool operator==(const Node&) const = default;

  /// kInvalidConfig naming every field that is wrong. Annotations of others that cannot be read
  /// count as absent; a wrong one of ours is an error.
  static Result<Node> parse(const nlohmann::json& object);
  /// An object that parse() reads as an equal node.
  nlohmann::json toJson() const;
};

}  // namespace culvert::objects
