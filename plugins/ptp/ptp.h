#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// The plugin `ptp`: a routed veth pair per container, no bridge and no shared layer 2. The packet
/// walk and every key stand in docs/plugins/ptp.md.
extern const cni::Plugin kPtp;

}  // namespace culvert::plugins
