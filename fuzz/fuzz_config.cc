// Standard input: the dispatcher and every plugin's own reading of its configuration. The first
// byte picks the verb.

#include <nlohmann/json.hpp>

#include "cni/dispatcher.h"
#include "fuzz/check.h"
#include "ipam/dhcp/config.h"
#include "ipam/host_local/allocator.h"
#include "ipam/host_local/config.h"
#include "ipam/static/config.h"
#include "plugins/bandwidth/config.h"
#include "plugins/bridge/config.h"
#include "plugins/dummy/dummy.h"
#include "plugins/firewall/config.h"
#include "plugins/host_device/config.h"
#include "plugins/ipvlan/ipvlan.h"
#include "plugins/macvlan/macvlan.h"
#include "plugins/multi/config.h"
#include "plugins/portmap/config.h"
#include "plugins/sbr/plan.h"
#include "plugins/shared/config.h"
#include "plugins/tap/tap.h"
#include "plugins/tuning/config.h"
#include "plugins/vlan/vlan.h"
#include "plugins/vrf/config.h"

using namespace culvert;
using fuzz::check;

namespace {

constexpr std::array<const char*, 6> kVerbs{"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"};
constexpr int kSteps = 20;

/// What the allocator and CHECK rely on.
void checkRanges(const ipam::HostLocalConfig& config) {
  check(config.directory.ends_with("/net") || config.directory.find('/') != std::string::npos,
        "directory", config.directory);
  for (const ipam::RangeSet& set : config.sets) {
    check(!set.empty(), "no empty range set");
    for (const ipam::Range& range : set) {
      check(range.start <= range.end, "order", range.text());
      check(range.subnet.contains(range.start) && range.subnet.contains(range.end), "inside",
            range.text());
    }
    ipam::AddressCursor cursor(set, set.back().end);
    for (int i = 0; i < kSteps; ++i) {
      const auto position = cursor.next();
      if (!position) break;
      check(ipam::rangeOf(set, position->address) == position->range, "of its range",
            position->address.text());
      check(position->address != position->range->gateway, "never the gateway");
    }
  }
}

void checkTuning(const cni::Request& request) {
  const auto tuning = plugins::parseTuningConfig(request);
  if (!tuning) return;
  for (const plugins::Sysctl& sysctl : tuning->sysctls) {
    check(("/" + sysctl.path + "/").find("/../") == std::string::npos, "below net", sysctl.path);
  }
}

void checkBandwidth(const cni::Request& request) {
  const auto bandwidth = plugins::parseBandwidthConfig(request);
  if (!bandwidth) return;
  check(bandwidth->egress.rateBits == 0 || bandwidth->egress.burstBits != 0, "a rate has a burst");
  (void)netlink::Shape::of(bandwidth->egress.rateBits, bandwidth->egress.burstBits,
                           bandwidth->latency, 1518);
}

/// macvlan and its like.
void readContainerLinks(const cni::Request& request) {
  const auto macvlan = plugins::parseMacvlanConfig(request);
  check(!macvlan || macvlan->link.master->name.size() < 16, "master");
  const auto ipvlan = plugins::parseIpvlanForAdd(request);
  check(!ipvlan || !ipvlan->link.ipamType.empty() || ipvlan->link.given, "addresses");
  const auto vlan = plugins::parseVlanConfig(request);
  check(!vlan || (vlan->vlan.id <= 4094 && !vlan->link.master->name.empty()), "vlan");
  (void)plugins::parseDummyConfig(request);
  const auto tap = plugins::parseTapConfig(request);
  check(!tap || tap->bridge.size() < 16, "bridge of a tap");
}

void checkMulti(const cni::Request& request) {
  const plugins::multi::MultiConfig forDel = plugins::multi::parseForDel(request);
  const auto multi = plugins::multi::parseMultiConfig(request);
  if (!multi) return;
  check(multi->clusterNetwork.empty() != multi->delegates.empty(), "one cluster-wide network");
  check(multi->confDir.front() == '/' && multi->cniDir.front() == '/', "absolute paths");
  check(multi->cniDir == forDel.cniDir, "DEL finds the records of ADD");
}

void checkPortmap(const cni::Request& request) {
  const auto portmap = plugins::parsePortmapConfig(request);
  if (!portmap) return;
  for (const plugins::RequestedMapping& one : portmap->requested) {
    check(one.hostPort != 0 && one.containerPort != 0 && one.count != 0, "ports from 1 on");
    check(one.hostPort + one.count - 1 <= 65535 && one.containerPort + one.count - 1 <= 65535,
          "ports up to 65535");
  }
  if (request.prevResult) (void)plugins::planMappings(*portmap, *request.prevResult);
}

void checkFirewall(const cni::Request& request) {
  const auto firewall = plugins::parseFirewallConfig(request);
  if (!firewall) return;
  check(hostfw::canBeAdminChain(firewall->options.adminChain), "the operator's chain",
        firewall->options.adminChain);
  if (request.prevResult) (void)plugins::planForward(*firewall, *request.prevResult);
}

Result<void> readAll(const cni::Request& request) {
  checkPortmap(request);
  checkFirewall(request);
  checkMulti(request);
  const auto hostLocal = ipam::parseHostLocal(request);
  if (hostLocal) checkRanges(*hostLocal);
  const auto status = ipam::parseForStatus(request);
  check(!hostLocal || status, "STATUS takes what ADD takes");
  (void)ipam::parseDirectory(request);
  (void)ipam::parseStatic(request);
  const auto dhcp = ipam::dhcp::parseConfig(request);
  check(!dhcp || ipam::dhcp::parsePaths(request), "DEL takes what ADD takes");
  const auto bridge = plugins::parseBridgeConfig(request);
  if (bridge) {
    check(!bridge->bridge.empty() && bridge->bridge.size() < 16, "bridge name", bridge->bridge);
    check(bridge->vlan <= 4094, "vlan");
  }
  checkTuning(request);
  checkBandwidth(request);
  const auto device = plugins::parseHostDeviceConfig(request);
  if (device) {
    for (const std::string& part : {device->kernelPath, device->pciId, device->auxiliaryId})
      check(("/" + part + "/").find("/../") == std::string::npos, "stays in /sys", part);
  }
  readContainerLinks(request);
  const auto sbr = plugins::parseSbrConfig(request);
  if (sbr && request.prevResult) (void)plugins::planSbr(*sbr, *request.prevResult, "eth0", {}, {});
  const auto vrf = plugins::parseVrfConfig(request);
  check(!vrf || (!vrf->name.empty() && vrf->name.size() < 16), "VRF name");
  cni::Problems problems;  // what ptp reads
  const cni::ConfigReader reader(*request.config, "", problems);
  (void)plugins::readMasquerade(reader);
  (void)plugins::readMtu(reader);
  return problems.take();
}

Result<cni::AddResult> addAll(const cni::Request& request) {
  TRY(readAll(request));
  return request.prevResult.value_or(cni::AddResult{});
}

constexpr cni::Plugin kEveryPlugin{.name = "fuzz",
                                   .oldest = cni::Version::k010,
                                   .add = addAll,
                                   .del = readAll,
                                   .check = readAll,
                                   .gc = readAll,
                                   .status = readAll};

const char* variable(std::string_view name, const char* verb) {
  if (name == "CNI_COMMAND") return verb;
  if (name == "CNI_CONTAINERID") return "c1";
  if (name == "CNI_NETNS") return "/nonexistent";
  if (name == "CNI_IFNAME") return "eth0";
  if (name == "CNI_PATH") return "/nonexistent";
  return nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const char* verb = kVerbs.at(data[0] % kVerbs.size());
  std::string out;
  const cni::Io io{.getEnv = [&](const char* name) { return variable(name, verb); },
                   .readConfig = [&]() -> Result<std::string> {
                     return std::string(fuzz::asText(data + 1, size - 1));
                   },
                   .out =
                       [&](const std::string& text) {
                         out += text;
                         return Result<void>();
                       },
                   .err = [](const std::string&) {}};
  const int status = cni::dispatch(kEveryPlugin, io);
  check(status == 0 || status == 1, "exit status", out);
  if (out.empty()) {
    check(status == 0, "a failure says why");
    return 0;
  }
  const auto object = nlohmann::json::parse(out, nullptr, false);
  check(object.is_object(), "one JSON object on stdout", out);
  if (status == 1) {
    check(object.contains("cniVersion") && object.contains("msg"), "an error object", out);
    const int code = object.value("code", 0);
    check(code > 0 && code < 200, "a code of its own, not 999", out);
  }
  return 0;
}
