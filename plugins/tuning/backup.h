#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "cni/plugin.h"
#include "netlink/rtnl.h"
#include "plugins/shared/record.h"
#include "plugins/tuning/config.h"

namespace culvert::plugins {

/// What an attachment's interface was before it was tuned.
struct TuningBackup {
  netlink::LinkChange link;                    // what has changed since, and nothing else
  std::map<std::string, std::string> sysctls;  // of the interface: path below net/ to value

  bool empty() const;
};

/// The reference's file format: {"mac", "promisc", "mtu", "allmulti", "txQLen"}, in
/// <dataDir>/<containerID>_<ifname>.json. What is damaged counts as absent.
std::string renderBackup(const netlink::LinkChange& link);
netlink::LinkChange parseBackup(const std::string& text);

/// Keeps `backup` before anything is changed: the link's part in the reference's file, so that
/// either plugin can restore it, the rest in a record. Two tunings in one list add up: what was
/// kept first stays.
Result<void> keepBackup(const cni::Request& request, const TuningConfig& config,
                        const TuningBackup& backup);

/// DEL, and GC for a record's attachment: restores whatever is kept, as far as interface and
/// namespace are still there, and forgets it. `record` may be absent (the reference's ADD), then
/// the file in `dataDir` counts alone.
Result<void> restoreBackup(const cni::Request& request, const std::optional<Record>& record,
                           const std::string& dataDir);

/// The steps of a restoration: each is tried.
Result<void> restoreLink(netlink::Rtnl& rtnl, netlink::IfIndex link,
                         const netlink::LinkChange& before);
Result<void> restoreSysctls(const NetNs& ns, const std::map<std::string, std::string>& before);

}  // namespace culvert::plugins
