#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// Chained behind a plugin that made a veth pair: limits the rate to and from the container.
/// docs/plugins/bandwidth.md.
extern const cni::Plugin kBandwidth;

}  // namespace culvert::plugins
