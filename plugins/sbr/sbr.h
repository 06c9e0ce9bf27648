#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// The plugin `sbr` (chained): source-based routing. Each address of the interface gets a routing
/// table of its own, which a rule leads packets from that address to.
extern const cni::Plugin kSbr;

}  // namespace culvert::plugins
