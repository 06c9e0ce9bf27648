#include "plugins/vlan/vlan.h"

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::Vlan;

constexpr ContainerLinkType kType{.plugin = "vlan", .kind = "vlan"};
constexpr int kMaxVlan = 4094;

Result<cni::AddResult> add(const cni::Request& request) {
  const VlanConfig config = TRY(parseVlanConfig(request));
  return addContainerLink(request, kType, config.link, config.vlan);
}

Result<void> del(const cni::Request& request) {
  return removeContainerLink(request, kType);
}

Result<void> check(const cni::Request& request) {
  const VlanConfig config = TRY(parseVlanConfig(request));
  const Link link = TRY(checkContainerLink(request, kType, config.link));
  const netlink::VlanId found = std::get<Vlan>(link.data).id;
  if (found == config.vlan.id) return {};
  return makeError(Errc::kCheckFailed, "'" + link.name + "' is in VLAN " + std::to_string(found) +
                                           ", not " + std::to_string(config.vlan.id));
}

Result<void> gc(const cni::Request& request) {
  const VlanConfig config = TRY(parseVlanConfig(request));
  return collectContainerLinks(request, kType, config.link);
}

Result<void> status(const cni::Request& request) {
  const VlanConfig config = TRY(parseVlanConfig(request));
  return containerLinkStatus(request, config.link, config.vlan);
}

}  // namespace

Result<VlanConfig> parseVlanConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  VlanConfig config{.link = readContainerLink(reader), .vlan = {}};
  config.link.master = readMaster(reader);
  if (config.link.master->name.empty()) problems.add("master", "is missing");
  if (config.link.ipamType.empty()) problems.add("ipam.type", "is missing: vlan needs addresses");
  config.vlan.id = static_cast<netlink::VlanId>(reader.integer("vlanId", 0, kMaxVlan).value_or(0));
  TRY(problems.take());
  return config;
}

const cni::Plugin kVlan{.name = "vlan",
                        .oldest = cni::Version::k010,
                        .add = add,
                        .del = del,
                        .check = check,
                        .gc = gc,
                        .status = status};

}  // namespace culvert::plugins
