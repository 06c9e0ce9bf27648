#pragma once

#include "netlink/rtnl.h"
#include "plugins/bridge/config.h"

namespace culvert::plugins {

/// The bridge as the configuration wants it: created if missing (its alias names the network; its
/// MAC is fixed from the start), promiscuous if asked for. An existing bridge keeps its MTU and
/// VLAN filtering. kInvalidConfig if the name belongs to something that is no bridge.
Result<netlink::Link> ensureBridge(netlink::Rtnl& host, const BridgeConfig& config,
                                   const std::string& network);

/// The interface that carries the gateway's addresses: the bridge itself, or for a VLAN the veth
/// `<bridge>.<vlan>`, whose other end is a port in that VLAN.
Result<netlink::Link> ensureGatewayInterface(netlink::Rtnl& host, const netlink::Link& bridge,
                                             const BridgeConfig& config,
                                             const std::string& network);

/// Which of the addresses on the gateway's interface stand in the way of `wanted`: any other IPv4
/// address, and IPv6 addresses whose subnets overlap. Pure.
std::vector<IpPrefix> conflicting(const std::vector<IpPrefix>& present,
                                  const std::vector<IpPrefix>& wanted);

/// Puts the gateways on `link`. A conflicting address is removed with `force`, an error
/// (kInvalidConfig) otherwise, and then nothing was changed.
Result<void> ensureGatewayAddresses(netlink::Rtnl& host, const netlink::Link& link,
                                    const std::vector<IpPrefix>& wanted, bool force);

/// The VLANs of a container's port: the access or native VLAN untagged, the trunk's tagged. Pure.
std::vector<netlink::PortVlan> plannedPortVlans(const BridgeConfig& config);

/// Gives the port its VLANs: all others are removed first unless the default VLAN is preserved.
Result<void> configurePortVlans(netlink::Rtnl& host, netlink::IfIndex port,
                                const BridgeConfig& config);

/// CHECK: kCheckFailed names the first VLAN that the port lacks, or has otherwise.
Result<void> verifyPortVlans(netlink::Rtnl& host, const netlink::Link& port,
                             const BridgeConfig& config);

/// GC: removes the bridge, and its VLANs' gateway interfaces, if `network` made it and it has no
/// other port.
Result<void> collectBridge(netlink::Rtnl& host, const BridgeConfig& config,
                           const std::string& network);

}  // namespace culvert::plugins
