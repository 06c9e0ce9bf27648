#pragma once

#include <string>
#include <vector>

#include "daemons/objects/node.h"
#include "daemons/routing/path.h"
#include "daemons/routing/settings.h"
#include "netlink/rtnl.h"

/// Which address and interface of this node the others send to.
namespace culvert::routing {

/// What the kernel says about this node's own network.
struct HostNetwork {
  std::vector<netlink::Link> links;
  std::vector<netlink::Address> addresses;
  PerFamily<netlink::IfIndex> defaultRoute;     // the link of the default route; kNone without one
  PerFamily<std::optional<IpAddress>> gateway;  // of the default route
};

Result<HostNetwork> readHostNetwork(netlink::Rtnl& rtnl);

/// Chooses for each family independently: the configured address; else the first address of the
/// configured interface; else the node's InternalIP, if an interface has it; else the first address
/// of the link with the default route; else the only one there is. Single addresses (/32, /128) and
/// our own devices are looked at last: such addresses often float between machines. Those of
/// `podNetworks` (this node's) are not looked at.
/// `why` receives a sentence for each family.
Underlay chooseUnderlay(const HostNetwork& host, const Settings& settings,
                        const objects::Node* self, const std::vector<IpPrefix>& podNetworks,
                        PerFamily<std::string>* why = nullptr);

}  // namespace culvert::routing
