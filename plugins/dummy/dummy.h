#pragma once

#include "cni/plugin.h"
#include "plugins/shared/container_link.h"

namespace culvert::plugins {

/// The plugin `dummy`: an interface that carries addresses and no packets. Every key stands in
/// docs/plugins/dummy.md.
extern const cni::Plugin kDummy;

/// kInvalidConfig naming every problem.
Result<ContainerLinkConfig> parseDummyConfig(const cni::Request& request);

}  // namespace culvert::plugins
