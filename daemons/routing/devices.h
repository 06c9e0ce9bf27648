#pragma once

#include <string>
#include <vector>

#include "daemons/routing/plan.h"
#include "netlink/rtnl.h"

/// The interfaces of ours: tunnels, and the addresses by which this host speaks through them.
namespace culvert::routing {

struct DeviceSpec {
  std::string name;
  netlink::LinkKind kind;
  std::optional<MacAddress> mac;
  std::uint32_t mtuBytes = 0;
  std::vector<IpPrefix> addresses;  // single ones
};

/// One for each encapsulation that a rule uses; for the classic VXLAN one for each family of the
/// underlay. None without an underlay.
std::vector<DeviceSpec> planDevices(const Surroundings& here, const std::vector<TunnelRule>& rules);

/// Makes them what they should be, changing only what differs (one whose kind differs is made
/// anew), and removes ours that are not wanted any more. New addresses come before old ones go, so
/// that no route loses its source address. `problems` receives what failed; the other devices are
/// there.
Result<Devices> ensureDevices(netlink::Rtnl& rtnl, const std::vector<DeviceSpec>& wanted,
                              const Settings& settings, std::vector<Error>& problems);

/// Those of ours that are there now, whether wanted or not.
Result<std::vector<netlink::Link>> listDevices(netlink::Rtnl& rtnl, const Settings& settings);

}  // namespace culvert::routing
