#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "cni/plugin.h"
#include "netlink/tc.h"

namespace culvert::plugins {

struct Limit {
  std::uint64_t rateBits = 0;   // per second; 0: no limit
  std::uint64_t burstBits = 0;  // never 0 with a rate
};

struct BandwidthConfig {
  Limit ingress;  // to the container
  Limit egress;   // from the container
  std::chrono::milliseconds latency{25};
  netlink::Subnets subnets;  // of the peers whose traffic is shaped

  bool limitsAnything() const { return ingress.rateBits != 0 || egress.rateBits != 0; }
};

/// The plugin's own keys, or runtimeConfig.bandwidth if none of them is set.
Result<BandwidthConfig> parseBandwidthConfig(const cni::Request& request);

}  // namespace culvert::plugins
