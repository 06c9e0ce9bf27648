#include "hostfw/inet_table.h"

#include "hostfw/forward_table.h"
#include "hostfw/masquerade_table.h"
#include "hostfw/portmap_table.h"
#include "netlink/sysctl.h"

namespace culvert::hostfw {

nft::Table inetTable() {
  return {nft::TableFamily::kInet, "culvert_cni"};
}

OwnedTable inetOwned(nft::Set index) {
  return {.table = inetTable(),
          .chains = {"postrouting", "masquerade_*", "portmap*", "forward*"},
          .indexes = {std::move(index), masquerade::ownerMap(Family::kV4),
                      portmap::ownerMap(Family::kV4, {}), forward::ownerMap(Family::kV4)},
          .hooks = forward::adminJumps(),
          .localnet = localnet::set()};
}

namespace localnet {
namespace {

constexpr const char* kWasOn = "route_localnet was on";
constexpr const char* kWasOff = "route_localnet was off";

std::string sysctl(const std::string& ifName) {
  return "ipv4/conf/" + ifName + "/route_localnet";
}

}  // namespace

nft::Set set() {
  return {inetTable(), "portmap_localnet", {nft::DataType::kIfName}};
}

nft::Element element(const std::string& ifName, bool wasOn) {
  return {nft::Value::ifName(ifName), {}, wasOn ? kWasOn : kWasOff};
}

bool wasOn(const nft::Element& element) {
  return element.comment == kWasOn;
}

Result<void> enable(const std::string& ifName) {
  return netlink::ensureSysctl(sysctl(ifName), "1");
}

Result<bool> isEnabled(const std::string& ifName) {
  return TRY(netlink::readSysctl(sysctl(ifName))) == "1";
}

Result<std::vector<std::string>> disableAll(nft::Connection& nft) {
  std::vector<std::string> names;
  auto elements = nft.listElements(set());
  if (!elements && elements.error().code == Errc::kNotFound) return names;
  for (const nft::Element& element : TRY(std::move(elements))) {
    if (wasOn(element)) continue;
    const std::string name = element.key.ifName();
    const auto written = netlink::writeSysctl(sysctl(name), "0");
    if (written) names.push_back(name);  // otherwise the interface is gone
  }
  return names;
}

}  // namespace localnet
}  // namespace culvert::hostfw
