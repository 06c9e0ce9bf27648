#pragma once

#include "base/result.h"
#include "ipam/dhcp/record.h"

namespace culvert::ipam::dhcp {

/// DEL without a daemon: gives the leases of `record` back through its interface, if that is still
/// there. Otherwise nobody can, and the server's clock does. DHCPv6 waits for the reply, a second
/// at most.
Result<void> releaseDirectly(const Record& record);

}  // namespace culvert::ipam::dhcp
