#include "plugins/registry.h"

#include <algorithm>
#include <array>

#include "ipam/dhcp/dhcp.h"
#include "ipam/host_local/host_local.h"
#include "ipam/static/static.h"
#include "plugins/bandwidth/bandwidth.h"
#include "plugins/bridge/bridge.h"
#include "plugins/dummy/dummy.h"
#include "plugins/firewall/firewall.h"
#include "plugins/host_device/host_device.h"
#include "plugins/ipvlan/ipvlan.h"
#include "plugins/loopback/loopback.h"
#include "plugins/macvlan/macvlan.h"
#include "plugins/multi/multi.h"
#include "plugins/portmap/portmap.h"
#include "plugins/ptp/ptp.h"
#include "plugins/sbr/sbr.h"
#include "plugins/tap/tap.h"
#include "plugins/tuning/tuning.h"
#include "plugins/vlan/vlan.h"
#include "plugins/vrf/vrf.h"

namespace culvert::plugins {
namespace {

using cni::Plugin;

constexpr auto kPlugins = std::to_array<const Plugin*>({
    &kBridge,       &kPtp, &kMacvlan,   &kHostDevice, &kIpvlan,          &kVlan,
    &kDummy,        &kTap, &kLoopback,  &kSbr,        &kPortmap,         &kFirewall,
    &kTuning,       &kVrf, &kBandwidth, &kMulti,      &ipam::kHostLocal, &ipam::kDhcp,
    &ipam::kStatic,
});

}  // namespace

std::span<const Plugin* const> allPlugins() {
  return kPlugins;
}

const Plugin* findPlugin(std::string_view name) {
  const auto found = std::find_if(kPlugins.begin(), kPlugins.end(),
                                  [&](const Plugin* plugin) { return plugin->name == name; });
  return found == kPlugins.end() ? nullptr : *found;
}

}  // namespace culvert::plugins
