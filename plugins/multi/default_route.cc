#include "plugins/multi/default_route.h"

#include <linux/rtnetlink.h>

#include <algorithm>

namespace culvert::plugins::multi {
namespace {

using netlink::RouteSpec;

constexpr std::uint32_t kIpv6Metric = 1024;  // IP6_RT_PRIO_USER, the kernel's own

bool isDefaultOf(const cni::Route& route, Family family) {
  return route.dst.isDefault() && route.dst.family() == family &&
         route.table.value_or(RT_TABLE_MAIN) == RT_TABLE_MAIN;
}

bool hasDefault(const Attachment& attachment, Family family) {
  if (!attachment.result) return false;
  const auto& routes = attachment.result->routes;
  return std::any_of(routes.begin(), routes.end(),
                     [&](const cni::Route& route) { return isDefaultOf(route, family); });
}

std::vector<IpAddress> ofFamily(const std::vector<IpAddress>& all, Family family) {
  std::vector<IpAddress> some;
  std::copy_if(all.begin(), all.end(), std::back_inserter(some),
               [&](const IpAddress& address) { return address.family() == family; });
  return some;
}

/// The metric of the nth gateway; the first has the kernel's default.
std::optional<std::uint32_t> metricOf(std::size_t position, Family family) {
  if (position == 0) return std::nullopt;
  const auto offset = static_cast<std::uint32_t>(position);
  return family == Family::kV4 ? offset : kIpv6Metric + offset;
}

void rewriteResult(Attachment& attachment, Family family, bool holds,
                   const std::vector<IpAddress>& gateways) {
  if (!attachment.result || (holds && gateways.empty())) return;
  auto& routes = attachment.result->routes;
  std::erase_if(routes, [&](const cni::Route& route) { return isDefaultOf(route, family); });
  if (!holds) return;
  for (std::size_t i = 0; i < gateways.size(); ++i) {
    cni::Route route;
    route.dst = IpPrefix::any(family);
    route.gw = gateways[i];
    route.priority = metricOf(i, family);
    routes.push_back(route);
  }
}

/// The indices of the attachments' interfaces; absent where a plugin made none.
Result<std::vector<std::optional<netlink::IfIndex>>> findInterfaces(
    const std::vector<Attachment>& attachments, Sandbox& sandbox) {
  std::vector<std::optional<netlink::IfIndex>> found(attachments.size());
  for (const netlink::Link& link : TRY(sandbox.rtnl.listLinks())) {
    for (std::size_t i = 0; i < attachments.size(); ++i)
      if (link.name == attachments[i].ifName) found[i] = link.index;
  }
  return found;
}

/// Removes the default routes through `links`.
Result<void> removeDefaults(Sandbox& sandbox, Family family,
                            const std::vector<netlink::IfIndex>& links) {
  for (const RouteSpec& route : TRY(sandbox.rtnl.listRoutes(family, RT_TABLE_MAIN))) {
    const bool theirs = route.dst.isDefault() && route.type == RTN_UNICAST &&
                        std::find(links.begin(), links.end(), route.link) != links.end();
    if (theirs) TRY(ignoreNotFound(sandbox.rtnl.removeRoute(route)));
  }
  return {};
}

Result<void> setGateways(Sandbox& sandbox, Family family, netlink::IfIndex link,
                         const std::vector<IpAddress>& gateways) {
  for (std::size_t i = 0; i < gateways.size(); ++i) {
    RouteSpec route;
    route.dst = IpPrefix::any(family);
    route.gateway = gateways[i];
    route.link = link;
    route.priority = metricOf(i, family);
    TRY(sandbox.rtnl.addRoute(route));
  }
  return {};
}

Result<void> applyFamily(std::vector<Attachment>& attachments, Sandbox& sandbox, Family family) {
  const DefaultRoutes chosen = chooseDefaultRoutes(attachments, family);
  if (!chosen.holder) return {};
  const auto interfaces = TRY(findInterfaces(attachments, sandbox));
  std::vector<netlink::IfIndex> cleared;
  bool others = false;
  for (std::size_t i = 0; i < attachments.size(); ++i) {
    const bool holds = i == *chosen.holder;
    const bool clears = !holds || !chosen.gateways.empty();
    if (clears && interfaces[i]) cleared.push_back(*interfaces[i]);
    others = others || (clears && hasDefault(attachments[i], family));
  }
  if (!others && chosen.gateways.empty()) return {};
  TRY(removeDefaults(sandbox, family, cleared));
  const Attachment& holder = attachments[*chosen.holder];
  if (!chosen.gateways.empty() && !interfaces[*chosen.holder])
    return makeError(Errc::kInvalidConfig, "there is no interface '" + holder.ifName + "'");
  if (!chosen.gateways.empty())
    TRY(setGateways(sandbox, family, *interfaces[*chosen.holder], chosen.gateways));
  for (std::size_t i = 0; i < attachments.size(); ++i)
    rewriteResult(attachments[i], family, i == *chosen.holder, chosen.gateways);
  return {};
}

}  // namespace

DefaultRoutes chooseDefaultRoutes(const std::vector<Attachment>& attachments, Family family) {
  DefaultRoutes chosen;
  for (std::size_t i = 0; i < attachments.size(); ++i) {
    if (!attachments[i].defaultRoute) continue;
    const auto gateways = ofFamily(*attachments[i].defaultRoute, family);
    if (!gateways.empty()) return {.holder = i, .gateways = gateways};
    if (attachments[i].defaultRoute->empty() && hasDefault(attachments[i], family))
      return {.holder = i, .gateways = {}};
  }
  for (std::size_t i = 0; i < attachments.size() && !chosen.holder; ++i)
    if (hasDefault(attachments[i], family)) chosen.holder = i;
  return chosen;
}

Result<void> applyDefaultRoutes(std::vector<Attachment>& attachments, Sandbox& sandbox) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    TRY(applyFamily(attachments, sandbox, family)
            .context(family == Family::kV4 ? "default route" : "IPv6 default route"));
  }
  return {};
}

}  // namespace culvert::plugins::multi
