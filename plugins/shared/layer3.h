#pragma once

#include <vector>

#include "base/result.h"
#include "cni/types.h"
#include "netlink/rtnl.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {

struct Layer3Options {
  bool arpNotify = false;           // gratuitous ARP at link-up
  bool neighbourNotify = false;     // unsolicited neighbour advertisement at link-up
  bool duplicateDetection = false;  // IPv6 DAD, and wait for its verdict
};

/// Gives the container's interface the result's addresses and routes and sets it up. A route
/// without a gateway goes through the first gateway of its family; mtu, advmss, priority, table
/// and scope of routes are honoured. IPv6 is switched on if the sandbox has it off.
/// IPv6 addresses are usable at once: IPAM made them unique, so detection is skipped unless asked
/// for, and then its end is awaited by event, not by polling (kTryAgain after 5 s).
Result<void> configureContainer(Sandbox& sandbox, netlink::InterfaceSetup setup,
                                const cni::AddResult& result, const Layer3Options& options);

/// The routes of a result as the kernel takes them.
std::vector<netlink::RouteSpec> plannedRoutes(const cni::AddResult& result);

/// Whether the result has an address of the family.
bool hasFamily(const cni::AddResult& result, Family family);

/// Before an interface of the host's is set up: its own link-local address is usable at once (until
/// then the host could not even ask for a container's MAC, and forwarded packets would be lost for
/// a second or two), and router advertisements from containers are none of the host's business. A
/// host without IPv6 has no such settings, so errors do not matter.
void prepareHostInterface(const std::string& name);

/// Writes 1 to ip_forward or ipv6/conf/all/forwarding where it is not 1, for each family in use.
Result<void> enableForwarding(const cni::AddResult& result);
/// Whether the host forwards packets of the family.
Result<bool> isForwarding(Family family);

/// CHECK: every address and route of the result is there; kCheckFailed names what is missing.
/// Routes are looked for in every table: chained plugins (sbr, vrf) may have moved them.
Result<void> verifyLayer3(Sandbox& sandbox, const netlink::Link& link,
                          const cni::AddResult& result);

/// The container's interface in prevResult, and the link itself: right kind, MAC, and `up`.
Result<netlink::Link> verifyContainerLink(Sandbox& sandbox, const cni::Request& request,
                                          const std::string& kind, bool up);

/// kInvalidConfig if there is none: "CHECK" and chained ADDs need it.
Result<const cni::AddResult*> requirePrevResult(const cni::Request& request);

/// A plugin that was given a prevResult returns it with its own additions (CNI 1.1.0 section 3).
cni::AddResult appendTo(const std::optional<cni::AddResult>& previous, cni::AddResult own);

}  // namespace culvert::plugins
