#pragma once

#include "cni/plugin.h"
#include "plugins/shared/container_link.h"

namespace culvert::plugins {

/// The plugin `ipvlan`: the container's interface shares a host interface's wire and its MAC
/// address. Every key stands in docs/plugins/ipvlan.md.
extern const cni::Plugin kIpvlan;

struct IpvlanConfig {
  ContainerLinkConfig link;
  netlink::Ipvlan ipvlan;
};
/// kInvalidConfig naming every problem.
Result<IpvlanConfig> parseIpvlanConfig(const cni::Request& request);
/// The same for ADD, where a plugin earlier in the chain may have given the master and, without
/// "ipam", the addresses.
Result<IpvlanConfig> parseIpvlanForAdd(const cni::Request& request);

}  // namespace culvert::plugins
