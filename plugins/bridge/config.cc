#include "plugins/bridge/config.h"

#include <net/if.h>

#include <nlohmann/json.hpp>

#include "cni/args.h"
#include "cni/common_config.h"
#include "plugins/shared/config.h"

namespace culvert::plugins {
namespace {

constexpr int kMaxVlan = 4094;

/// Adds one item of vlanTrunk: {"id"} and/or {"minID", "maxID"}.
void readTrunkItem(const cni::ConfigReader& item, std::vector<netlink::PortVlan>& trunk) {
  const auto id = item.integer("id", 1, kMaxVlan);
  const auto min = item.integer("minID", 1, kMaxVlan);
  const auto max = item.integer("maxID", 1, kMaxVlan);
  if (item.has("minID") != item.has("maxID")) {
    item.problem(item.has("minID") ? "maxID" : "minID", "is missing: minID and maxID go together");
  } else if (min && max && *min > *max) {
    item.problem("minID", "is greater than maxID");
  } else if (min && max) {
    trunk.push_back(
        {.first = static_cast<netlink::VlanId>(*min), .last = static_cast<netlink::VlanId>(*max)});
  }
  if (id)
    trunk.push_back(
        {.first = static_cast<netlink::VlanId>(*id), .last = static_cast<netlink::VlanId>(*id)});
}

void readVlans(const cni::ConfigReader& reader, BridgeConfig& config) {
  config.vlan = static_cast<netlink::VlanId>(reader.integer("vlan", 0, kMaxVlan).value_or(0));
  for (const cni::ConfigReader& item : reader.objects("vlanTrunk"))
    readTrunkItem(item, config.trunk);
  config.preserveDefaultVlan = reader.boolean("preserveDefaultVlan");
  if (config.isGateway && config.gatewayInterface().size() >= IFNAMSIZ) {
    reader.problem("bridge", "is too long: the gateway's interface '" + config.gatewayInterface() +
                                 "' would have more than 15 bytes");
  }
}

void refuseContradictions(const cni::ConfigReader& reader, const BridgeConfig& config) {
  if (config.hairpinMode && config.promiscMode) {
    reader.problem("hairpinMode", "cannot be combined with promiscMode");
  }
  if (config.disableContainerInterface && !config.ipamType.empty()) {
    reader.problem("disableContainerInterface",
                   "cannot be combined with ipam: the interface stays down");
  }
}

}  // namespace

Result<BridgeConfig> parseBridgeConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  BridgeConfig config;
  config.bridge = readInterfaceName(reader, "bridge", "cni0");
  config.isDefaultGateway = reader.boolean("isDefaultGateway");
  config.isGateway = reader.boolean("isGateway") || config.isDefaultGateway;
  config.forceAddress = reader.boolean("forceAddress");
  config.ipMasq = readMasquerade(reader);
  config.hairpinMode = reader.boolean("hairpinMode");
  config.promiscMode = reader.boolean("promiscMode");
  config.macSpoofCheck = reader.boolean("macspoofchk");
  config.duplicateDetection = reader.boolean("enabledad");
  config.disableContainerInterface = reader.boolean("disableContainerInterface");
  config.portIsolation = reader.boolean("portIsolation");
  config.mtuBytes = readMtu(reader);
  config.ipamType = reader.object("ipam").string("type");
  config.dns = cni::readDns(reader, "dns");
  readVlans(reader, config);
  const cni::Args args = TRY(cni::parseArgs(request.args, {"MAC"}));
  config.mac = readMac(reader, args);
  refuseContradictions(reader, config);
  TRY(problems.take());
  return config;
}

}  // namespace culvert::plugins
