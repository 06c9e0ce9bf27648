#pragma once

#include "cni/plugin.h"
#include "plugins/shared/container_link.h"

namespace culvert::plugins {

/// The plugin `macvlan`: the container's interface shares a host interface's wire, with a MAC
/// address of its own. Every key stands in docs/plugins/macvlan.md.
extern const cni::Plugin kMacvlan;

struct MacvlanConfig {
  ContainerLinkConfig link;
  netlink::Macvlan macvlan;
};
/// kInvalidConfig naming every problem.
Result<MacvlanConfig> parseMacvlanConfig(const cni::Request& request);

}  // namespace culvert::plugins
