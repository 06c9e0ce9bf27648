#pragma once

#include <optional>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::ipam {

/// A configuration that ADD and CHECK can act on: only parseStatic() makes one.
struct StaticConfig {
  struct Address {
    IpPrefix address;
    std::optional<IpAddress> gateway;
  };
  std::vector<Address> addresses;
  std::vector<cni::Route> routes;
  cni::Dns dns;
};

/// Pure. The addresses of `ipam` with those of CNI_ARGS (IP, GATEWAY) behind them, or instead of
/// both those of args.cni.ips, or instead of all those of runtimeConfig.ips. kInvalidConfig names
/// everything that is wrong at once; kInvalidEnvironment if CNI_ARGS is.
Result<StaticConfig> parseStatic(const cni::Request& request);

}  // namespace culvert::ipam
