#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cni/plugin.h"
#include "netlink/rtnl.h"

namespace culvert::plugins {

struct Sysctl {
  std::string key;    // as configured: "net.ipv4.conf.IFNAME.arp_notify"
  std::string path;   // below /proc/sys/net: "ipv4/conf/eth0/arp_notify"
  std::string value;  // as configured
  /// Whether it is the attachment's interface's own, so that nobody else can have set it.
  bool ofInterface = false;
};

struct TuningConfig {
  netlink::LinkChange link;     // never a namespace, name or alias
  std::vector<Sysctl> sysctls;  // each path once
  std::string dataDir;          // of backup files
};

inline constexpr char kTuningDataDir[] = "/run/cni/tuning";

Result<TuningConfig> parseTuningConfig(const cni::Request& request);

}  // namespace culvert::plugins
