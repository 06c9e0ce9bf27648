#pragma once

#include <vector>

#include "base/result.h"
#include "hostfw/portmap.h"
#include "netlink/conntrack.h"
#include "netlink/rtnl.h"

/// Flows that connection tracking keeps sending where they were first sent: of protocols without a
/// handshake that would tell (UDP, and SCTP whose peers keep their ports), as long as they last.
namespace culvert::hostfw {

/// After ADD: forgets flows to the mapped ports of this host that go elsewhere than to the
/// container, to a former one or to the host itself.
Result<void> forgetFormerFlows(conntrack::Connection& conntrack, netlink::Rtnl& host,
                               const std::vector<PortMapping>& mappings);

/// After DEL: forgets flows that the mappings brought to the container.
Result<void> forgetMappedFlows(conntrack::Connection& conntrack,
                               const std::vector<PortMapping>& mappings);

/// Whether any of the mappings is of such a protocol: nothing need be opened otherwise.
bool haveFlows(const std::vector<PortMapping>& mappings);

}  // namespace culvert::hostfw
