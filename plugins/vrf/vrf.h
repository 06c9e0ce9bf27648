#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// The plugin `vrf` (chained): puts the interface into a VRF of the container's, a routing domain
/// of its own, with its IPv6 addresses and routes. The VRF is made for the first interface and
/// goes with the last.
extern const cni::Plugin kVrf;

}  // namespace culvert::plugins
