#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// The plugin `bridge`: a veth pair per container, its host end a port of a bridge. The packet walk
/// and every key stand in docs/plugins/bridge.md.
extern const cni::Plugin kBridge;

}  // namespace culvert::plugins
