#pragma once

#include <cstdint>
#include <string>

#include "cni/plugin.h"
#include "ipam/dhcp/record.h"

namespace culvert::ipam::dhcp {

/// The `ipam` object of a network that uses dhcp.
struct Config {
  std::string socketPath;  // daemonSocketPath
  std::string stateDir;    // daemonStateDir
  std::uint32_t priority = 0;
  Order order;  // families, options; and the attachment itself
};

/// kInvalidConfig names every key that is wrong. Options are numbers, or names as dhclient has
/// them. An option that `provide` and CNI_ARGS (fromArg) both give comes from CNI_ARGS.
Result<Config> parseConfig(const cni::Request& request);

/// What DEL and GC need; nothing else of the configuration matters to them.
Result<Config> parsePaths(const cni::Request& request);

/// Option 61 as the reference sends it, so that a container keeps its lease across the change of
/// plugins: a byte 0 and "container/network/interface", cut to 254 bytes.
std::string defaultClientId(const cni::Request& request);

}  // namespace culvert::ipam::dhcp
