#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// The plugin `loopback`: sets `lo` up in the container's namespace. Keeps nothing on the host.
extern const cni::Plugin kLoopback;

}  // namespace culvert::plugins
