#pragma once

#include <optional>
#include <vector>

#include "base/ip.h"
#include "cni/config_reader.h"
#include "daemons/frame/settings.h"

namespace culvert::services {

/// The section `services` of culvertd.yaml. docs/services.md has every key.
struct Settings {
  std::vector<IpPrefix>
      clusterCidrs;  // who sends from them is a pod; empty: from this node's podCIDRs
  bool masqueradeAll = false;
  /// At which of this node's addresses node ports are open; empty: at its InternalIPs ("primary").
  std::vector<IpPrefix> nodePortAddresses;
  std::optional<frame::ListenAddress> healthz, metrics;  // none: off
};

/// Adds every problem to the reader's list.
Settings readSettings(const cni::ConfigReader& section);

}  // namespace culvert::services
