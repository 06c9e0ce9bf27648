#pragma once

#include <compare>
#include <string>
#include <string_view>

namespace culvert::objects {

/// Where an object stands among those of its kind: metadata.namespace and metadata.name.
struct Key {
  std::string ns;  // empty for cluster-scoped kinds
  std::string name;
  /// "name", or "namespace/name".
  std::string text() const { return ns.empty() ? name : ns + "/" + name; }
  auto operator<=>(const Key&) const = default;
};

/// A kind of object as the Kubernetes API knows it (API conventions, "Types (Kinds)").
struct Kind {
  std::string_view group;    // empty for core
  std::string_view version;  // "v1"
  std::string_view plural;   // "nodes": its place in paths
  std::string_view name;     // "Node": as in the object's `kind`
  bool namespaced = false;
  /// As in the object's `apiVersion`: "v1", "discovery.k8s.io/v1".
  std::string apiVersion() const {
    return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
  }
  bool operator==(const Kind&) const = default;
};

inline constexpr Kind kNode{"", "v1", "nodes", "Node", false};
inline constexpr Kind kPod{"", "v1", "pods", "Pod", true};
inline constexpr Kind kNamespace{"", "v1", "namespaces", "Namespace", false};
inline constexpr Kind kSecret{"", "v1", "secrets", "Secret", true};
inline constexpr Kind kService{"", "v1", "services", "Service", true};
inline constexpr Kind kEndpointSlice{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice",
                                     true};

inline constexpr std::string_view kGroup = "culvert.dev";
inline constexpr Kind kIpPool{kGroup, "v1", "ippools", "IPPool", false};
inline constexpr Kind kAddressBlock{kGroup, "v1", "addressblocks", "AddressBlock", false};
inline constexpr Kind kBgpConfiguration{kGroup, "v1", "bgpconfigurations", "BGPConfiguration",
                                        false};
inline constexpr Kind kBgpPeer{kGroup, "v1", "bgppeers", "BGPPeer", false};
inline constexpr Kind kBgpFilter{kGroup, "v1", "bgpfilters", "BGPFilter", false};

}  // namespace culvert::objects
