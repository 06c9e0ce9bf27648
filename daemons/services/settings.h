#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "cni/config_reader.h"
#include "daemons/frame/settings.h"
#include "daemons/services/conntrack_settings.h"

namespace culvert::services {

/// At which of this node's addresses node ports are open.
struct NodePortAddresses {
  bool primary = true;     // its InternalIPs
  bool localhost = false;  // 127.0.0.1 and ::1, for TCP
  bool all = false;        // all it has, but those of loopback
  std::vector<IpPrefix> networks;
  bool operator==(const NodePortAddresses&) const = default;

  /// Of the addresses that this host has; loopback's are never among them, as the kernel cannot
  /// translate what is sent there.
  std::set<IpAddress> of(const std::set<IpAddress>& host,
                         const std::vector<IpAddress>& internal) const;
};
/// "primary", "localhost", "all".
bool isNodePortWord(std::string_view word);

/// The section `services` of culvertd.yaml. docs/services.md has every key.
struct Settings {
  std::vector<IpPrefix>
      clusterCidrs;  // who sends from them is a pod; empty: from this node's podCIDRs
  bool masqueradeAll = false;
  NodePortAddresses nodePorts;
  std::optional<frame::ListenAddress> healthz, metrics;
  std::chrono::milliseconds syncPeriod{30'000};  // a change that waits twice as long is too late
  std::chrono::milliseconds minSyncPeriod{0};    // between two writes
  ConntrackSettings conntrack;
};

/// Adds every problem to the reader's list.
Settings readSettings(const cni::ConfigReader& section);

}  // namespace culvert::services
