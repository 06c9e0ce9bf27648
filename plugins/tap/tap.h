#pragma once

#include "cni/plugin.h"
#include "netlink/tap.h"
#include "plugins/shared/container_link.h"

namespace culvert::plugins {

/// The plugin `tap`: the other end of the container's interface is a file for a program, mostly a
/// virtual machine monitor. Every key stands in docs/plugins/tap.md.
extern const cni::Plugin kTap;

struct TapConfig {
  ContainerLinkConfig link;
  netlink::TapSpec tap;  // but for the name
  std::string bridge;    // inside the container; empty: none
};
/// kInvalidConfig naming every problem.
Result<TapConfig> parseTapConfig(const cni::Request& request);

}  // namespace culvert::plugins
