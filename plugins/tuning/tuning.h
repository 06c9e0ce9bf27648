#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// The plugin `tuning` (chained): sysctls of the container's namespace, and MAC, MTU, promiscuous
/// and all-multicast mode and queue length of its interface. What they were is kept in the
/// reference's backup file and in a record, and restored by DEL and GC.
extern const cni::Plugin kTuning;

}  // namespace culvert::plugins
