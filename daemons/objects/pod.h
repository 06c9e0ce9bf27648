#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace culvert::objects {

/// Which addresses a pod asks for, by its annotations: JSON arrays of strings, as Calico has them.
/// Ours count before Calico's.
namespace annotations {
inline constexpr const char* kPodAddresses = "culvert.dev/ip-addresses";  // '["10.244.1.9"]'
inline constexpr const char* kPodPools = "culvert.dev/pools";  // names or networks of IPPools
inline constexpr const char* kCalicoAddresses = "cni.projectcalico.org/ipAddrs";
inline constexpr const char* kCalicoPoolsV4 = "cni.projectcalico.org/ipv4pools";
inline constexpr const char* kCalicoPoolsV6 = "cni.projectcalico.org/ipv6pools";
}  // namespace annotations

struct PodWishes {
  std::vector<IpAddress> addresses;  // at most one of each family
  std::vector<std::string> pools;    // names or networks
  bool operator==(const PodWishes&) const = default;

  /// Of a core/v1 Pod. kInvalidConfig naming every annotation that is wrong.
  static Result<PodWishes> parse(const nlohmann::json& pod);
};

}  // namespace culvert::objects
