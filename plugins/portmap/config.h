#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "cni/plugin.h"
#include "hostfw/portmap.h"

namespace culvert::plugins {

/// An entry of runtimeConfig.portMappings.
struct RequestedMapping {
  std::uint8_t protocol = 0;        // IPPROTO_*
  std::optional<IpAddress> hostIp;  // 0.0.0.0 and ::: every address of that family
  std::uint16_t hostPort = 0;
  std::uint16_t containerPort = 0;
  std::uint16_t count = 1;
};

struct PortmapConfig {
  std::vector<RequestedMapping> requested;
  hostfw::PortmapOptions options;  // without localnetInterface
};

/// Never leaves ports outside 1..65535, nor ranges that run over 65535.
Result<PortmapConfig> parsePortmapConfig(const cni::Request& request);

/// What is to be mapped to the container that `result` tells of: its first IPv4 and its first IPv6
/// address, but none of an interface on the host. Mappings whose host address has a family that the
/// container has not are left out; the same one twice is one. kInvalidConfig if two of them want
/// the same port for different ones.
Result<std::vector<hostfw::PortMapping>> planMappings(const PortmapConfig& config,
                                                      const cni::AddResult& result);

}  // namespace culvert::plugins
