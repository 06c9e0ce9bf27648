#pragma once

#include "cni/plugin.h"
#include "plugins/shared/container_link.h"

namespace culvert::plugins {

/// The plugin `vlan`: the container's interface is one VLAN (IEEE 802.1Q) of a host interface's
/// wire. Every key stands in docs/plugins/vlan.md.
extern const cni::Plugin kVlan;

struct VlanConfig {
  ContainerLinkConfig link;
  netlink::Vlan vlan;
};
/// kInvalidConfig naming every problem.
Result<VlanConfig> parseVlanConfig(const cni::Request& request);

}  // namespace culvert::plugins
