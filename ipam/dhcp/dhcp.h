#pragma once

#include "cni/plugin.h"

namespace culvert::ipam {

/// Addresses from DHCP servers on the container's link. A daemon (dhcp/daemon.h) holds the leases.
extern const cni::Plugin kDhcp;

}  // namespace culvert::ipam
