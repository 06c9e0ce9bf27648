#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::ipam {

/// Addresses start..end (inclusive) of a subnet, of which the gateway is never handed out.
struct Range {
  IpPrefix subnet;
  IpAddress start, end;
  IpAddress gateway;  // need not lie inside the subnet

  bool contains(const IpAddress& address) const { return start <= address && address <= end; }
  /// "10.1.2.1-10.1.2.254"
  std::string text() const { return start.text() + "-" + end.text(); }
};

/// One address is allocated from each set. Never empty; one address family; no overlaps.
using RangeSet = std::vector<Range>;

/// The range that holds `address`, or nullptr.
const Range* rangeOf(const RangeSet& set, const IpAddress& address);
/// "10.1.2.1-10.1.2.254,10.1.3.1-10.1.3.9"
std::string rangeSetText(const RangeSet& set);

/// A configuration that ADD and CHECK can act on: only parseConfig() makes one.
struct HostLocalConfig {
  std::string directory;  // of this network's reservations: <dataDir>/<network>
  std::vector<RangeSet> sets;
  /// Canonical, without duplicates, from CNI_ARGS, args.cni.ips and runtimeConfig.ips.
  std::vector<IpAddress> requested;
  std::vector<cni::Route> routes;
  std::string resolvConf;  // empty: no DNS
};

/// Pure. kInvalidConfig names everything that is wrong with the `ipam` section and its companions
/// at once; kInvalidEnvironment if CNI_ARGS is.
Result<HostLocalConfig> parseHostLocal(const cni::Request& request);

/// Where the reservations are: all that DEL and GC need, so that a container can be cleaned up
/// after its ranges became invalid.
Result<std::string> parseDirectory(const cni::Request& request);

/// As parseHostLocal() without what only ADD has. STATUS comes without runtimeConfig, so no ranges
/// at all is fine if the configuration takes them from the runtime (capability "ipRanges").
Result<HostLocalConfig> parseForStatus(const cni::Request& request);

}  // namespace culvert::ipam
