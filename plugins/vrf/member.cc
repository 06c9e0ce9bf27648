#include "plugins/vrf/member.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "plugins/shared/route_json.h"

namespace culvert::plugins {
namespace {

using netlink::Address;
using netlink::IfIndex;
using netlink::InterfaceSetup;
using netlink::RouteSpec;
using netlink::Rtnl;

/// Made by the kernel from addresses, and by it made again.
bool isOfKernel(const RouteSpec& route) {
  return route.protocol == RTPROT_KERNEL || route.type != RTN_UNICAST;
}

}  // namespace

nlohmann::json Belongings::json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& address : addresses)
    list.push_back(
        {{"address", address.prefix.text()}, {"connectedRoute", address.connectedRoute}});
  return {{"routes", routesJson(routes)}, {"addresses", list}};
}

Belongings Belongings::from(const cni::ConfigReader& reader, IfIndex link) {
  Belongings belongings;
  belongings.routes = readRouteSpecs(reader, "routes", link);
  for (const cni::ConfigReader& item : reader.objects("addresses")) {
    if (const auto prefix = item.prefix("address"))
      belongings.addresses.push_back(
          {.prefix = *prefix, .connectedRoute = item.boolean("connectedRoute", true)});
  }
  return belongings;
}

Result<Belongings> listBelongings(Rtnl& rtnl, IfIndex link, std::uint32_t table) {
  Belongings belongings;
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (RouteSpec& route : TRY(rtnl.listRoutes(family, table))) {
      if (route.link == link && !isOfKernel(route)) belongings.routes.push_back(std::move(route));
    }
  }
  for (const Address& address : TRY(rtnl.listAddresses(link))) {
    const bool kept = address.prefix.family() == Family::kV6 &&
                      address.scope == RT_SCOPE_UNIVERSE && (address.flags & IFA_F_PERMANENT) != 0;
    if (kept)
      belongings.addresses.push_back(
          {.prefix = address.prefix, .connectedRoute = (address.flags & IFA_F_NOPREFIXROUTE) == 0});
  }
  sortForAdding(belongings.routes);
  return belongings;
}

Result<void> restoreBelongings(Rtnl& rtnl, IfIndex link, Belongings belongings,
                               std::uint32_t table) {
  FirstError outcome;
  const std::vector<Address> there = TRY(rtnl.listAddresses(link));
  for (const auto& address : belongings.addresses) {
    const bool kept = std::any_of(there.begin(), there.end(),
                                  [&](const Address& one) { return one.prefix == address.prefix; });
    if (!kept) outcome.note(rtnl.addAddress(link, address));
  }
  for (RouteSpec& route : belongings.routes) {
    route.table = table;
    route.link = link;
    outcome.note(rtnl.addRoute(route));
  }
  return std::move(outcome).take();
}

}  // namespace culvert::plugins
