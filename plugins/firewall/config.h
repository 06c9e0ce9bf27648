#pragma once

#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "cni/plugin.h"
#include "hostfw/forward.h"

namespace culvert::plugins {

struct FirewallConfig {
  bool enabled = true;             // false: "backend" is "none"
  hostfw::ForwardOptions options;  // without bridge and ports
};

/// Refuses "backend": "firewalld", which is not supported, and chain names that cannot be.
Result<FirewallConfig> parseFirewallConfig(const cni::Request& request);

/// What `result` tells: the addresses that are the container's, and in options, if there is a
/// policy, the first interface on the host and the other ones there. kInvalidConfig if a policy
/// finds no interface on the host.
struct Forwarded {
  std::vector<IpAddress> addresses;
  hostfw::ForwardOptions options;
};
Result<Forwarded> planForward(const FirewallConfig& config, const cni::AddResult& result);

}  // namespace culvert::plugins
