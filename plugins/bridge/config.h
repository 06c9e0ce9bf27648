#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/mac.h"
#include "base/result.h"
#include "cni/plugin.h"
#include "netlink/link.h"

namespace culvert::plugins {

/// The configuration of `bridge` (docs/plugins/bridge.md has every key). Only parseBridgeConfig()
/// makes one, so what add() gets has been validated.
struct BridgeConfig {
  std::string bridge;  // a valid interface name
  bool isGateway = false;
  bool isDefaultGateway = false;  // implies isGateway
  bool forceAddress = false;
  bool ipMasq = false;
  bool hairpinMode = false;
  bool promiscMode = false;
  bool preserveDefaultVlan = false;
  bool macSpoofCheck = false;
  bool duplicateDetection = false;  // "enabledad"
  bool disableContainerInterface = false;
  bool portIsolation = false;
  std::uint32_t mtuBytes = 0;  // 0: the kernel's default
  netlink::VlanId vlan = 0;    // 0: none
  std::vector<netlink::PortVlan> trunk;
  std::optional<MacAddress> mac;  // of the container's end
  std::string ipamType;           // empty: layer 2 only
  std::optional<cni::Dns> dns;    // replaces IPAM's

  bool usesVlans() const { return vlan != 0 || !trunk.empty(); }
  /// Where the gateway's addresses are: the bridge, or its VLAN's own interface.
  std::string gatewayInterface() const {
    return vlan == 0 ? bridge : bridge + "." + std::to_string(vlan);
  }
};

/// kInvalidConfig names everything that is wrong at once.
Result<BridgeConfig> parseBridgeConfig(const cni::Request& request);

}  // namespace culvert::plugins
