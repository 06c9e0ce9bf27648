#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// Has the host forward for a container, or not between containers (hostfw/forward.h). Chained.
extern const cni::Plugin kFirewall;

}  // namespace culvert::plugins
