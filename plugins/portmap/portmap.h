#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// Brings what comes to ports of the host to a container (hostfw/portmap.h). Chained.
extern const cni::Plugin kPortmap;

}  // namespace culvert::plugins
