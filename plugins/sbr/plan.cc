#include "plugins/sbr/plan.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "plugins/shared/route_json.h"
#include "plugins/shared/tables.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::RouteSpec;
using netlink::RuleSpec;

constexpr std::uint32_t kFirstTable = 100;

void readGateways(const cni::ConfigReader& reader, SbrConfig& config) {
  for (const std::string& text : reader.strings("gateways")) {
    const auto gateway = IpAddress::parse(text);
    if (!gateway) {
      reader.problem("gateways", "has \"" + text + "\", which is no IP address");
      continue;
    }
    auto& slot = gateway->family() == Family::kV4 ? config.gatewayV4 : config.gatewayV6;
    if (slot) reader.problem("gateways", "may have one address of each family");
    slot = gateway;
  }
}

bool isLinkLocal(const RouteSpec& route) {
  static const IpPrefix kLinkLocal = *IpPrefix::parse("fe80::/10");
  static const IpPrefix kMulticast = *IpPrefix::parse("ff00::/8");
  if (route.dst.family() == Family::kV4 || route.dst.length() < 8) return false;
  return kLinkLocal.contains(route.dst.address()) || kMulticast.contains(route.dst.address());
}

/// The routes that packets from `subnet` may take: those with a source or gateway in it, and those
/// that have neither.
bool serves(const RouteSpec& route, const IpPrefix& subnet) {
  if (route.dst.family() != subnet.family()) return false;
  if (!route.source && !route.gateway) return true;
  return (route.source && subnet.contains(*route.source)) ||
         (route.gateway && subnet.contains(*route.gateway));
}

RuleSpec ruleFor(const cni::IpConfig& ip, std::uint32_t table) {
  RuleSpec rule;
  rule.family = ip.address.family();
  rule.source = IpPrefix::host(ip.address.address());
  rule.table = table;
  return rule;
}

bool has(const std::vector<RouteSpec>& routes, const RouteSpec& wanted) {
  return std::any_of(routes.begin(), routes.end(), [&](const RouteSpec& route) {
    return route.dst == wanted.dst && route.table == wanted.table &&
           route.gateway == wanted.gateway && route.priority == wanted.priority;
  });
}

/// Table `table`: what the main table has for this address, and a default route.
void fillTable(std::uint32_t table, const cni::IpConfig& ip,
               const std::optional<IpAddress>& gateway, const std::vector<RouteSpec>& routes,
               std::vector<RouteSpec>& added) {
  std::vector<RouteSpec> own;
  for (RouteSpec route : routes) {
    if (!serves(route, ip.address)) continue;
    if (route.dst.isDefault() && gateway && route.gateway != gateway) continue;
    route.table = table;
    if (!has(own, route)) own.push_back(std::move(route));
  }
  const bool hasDefault = std::any_of(own.begin(), own.end(),
                                      [](const RouteSpec& route) { return route.dst.isDefault(); });
  if (gateway && !hasDefault) {
    RouteSpec route;
    route.dst = IpPrefix::any(ip.address.family());
    route.gateway = gateway;
    route.table = table;
    own.push_back(route);
  }
  sortForAdding(own);
  added.insert(added.end(), own.begin(), own.end());
}

RouteSpec hintFor(const cni::IpConfig& ip) {
  RouteSpec route;
  route.dst = ip.address.network();
  route.source = ip.address.address();
  route.scope = ip.address.family() == Family::kV4 ? std::uint8_t{RT_SCOPE_LINK}
                                                   : std::uint8_t{RT_SCOPE_UNIVERSE};
  route.table = RT_TABLE_MAIN;
  return route;
}

bool isHinted(const std::vector<RouteSpec>& hints, const RouteSpec& route) {
  return std::any_of(hints.begin(), hints.end(),
                     [&](const RouteSpec& hint) { return hint.dst == route.dst; });
}

nlohmann::json rulesJson(const std::vector<RuleSpec>& rules) {
  nlohmann::json list = nlohmann::json::array();
  for (const RuleSpec& rule : rules)
    list.push_back({{"from", rule.source->text()}, {"table", rule.table}});
  return list;
}

}  // namespace

Result<SbrConfig> parseSbrConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  SbrConfig config;
  if (const auto table = reader.integer("table", 1, UINT32_MAX))
    config.table = static_cast<std::uint32_t>(*table);
  readGateways(reader, config);
  config.addSourceHints = reader.boolean("addSourceHints");
  TRY(problems.take());
  return config;
}

std::vector<cni::IpConfig> addressesOf(const cni::AddResult& result, const std::string& ifName) {
  std::vector<cni::IpConfig> own;
  for (const cni::IpConfig& ip : result.ips) {
    const bool elsewhere = ip.interface && *ip.interface < result.interfaces.size() &&
                           result.interfaces[*ip.interface].name != ifName;
    if (!elsewhere) own.push_back(ip);
  }
  return own;
}

std::optional<IpAddress> gatewayOf(const cni::IpConfig& ip, const SbrConfig& config,
                                   const cni::AddResult& result,
                                   const std::vector<RouteSpec>& routes) {
  const Family family = ip.address.family();
  const auto& configured = family == Family::kV4 ? config.gatewayV4 : config.gatewayV6;
  if (configured) return configured;
  if (ip.gateway) return ip.gateway;
  for (const cni::IpConfig& other : result.ips) {
    if (other.gateway && ip.address.contains(*other.gateway)) return other.gateway;
  }
  for (const cni::Route& route : result.routes) {
    if (route.dst == IpPrefix::any(family) && route.gw) return route.gw;
  }
  for (const RouteSpec& route : routes) {
    if (route.dst == IpPrefix::any(family) && route.gateway) return route.gateway;
  }
  return std::nullopt;
}

nlohmann::json SbrPlan::json(IfIndex link) const {
  return {{"ifindex", static_cast<std::uint32_t>(link)},
          {"rules", rulesJson(rules)},
          {"added", routesJson(added)},
          {"moved", routesJson(moved)},
          {"hints", routesJson(hints)}};
}

IfIndex SbrPlan::linkOf(const Record& record) {
  cni::Problems ignored;
  const cni::ConfigReader reader(record.details, "", ignored);
  return static_cast<IfIndex>(reader.integer("ifindex", 0, INT32_MAX).value_or(0));
}

SbrPlan SbrPlan::from(const Record& record) {
  cni::Problems ignored;
  const cni::ConfigReader reader(record.details, "", ignored);
  SbrPlan plan;
  for (const cni::ConfigReader& item : reader.objects("rules")) {
    const auto source = item.prefix("from");
    const auto table = item.integer("table", 1, UINT32_MAX);
    if (!source || !table) continue;
    RuleSpec rule;
    rule.family = source->family();
    rule.source = source;
    rule.table = static_cast<std::uint32_t>(*table);
    plan.rules.push_back(rule);
  }
  const IfIndex link = linkOf(record);
  plan.added = readRouteSpecs(reader, "added", link);
  plan.moved = readRouteSpecs(reader, "moved", link);
  plan.hints = readRouteSpecs(reader, "hints", link);
  return plan;
}

SbrPlan planSbr(const SbrConfig& config, const cni::AddResult& result, const std::string& ifName,
                const std::vector<RouteSpec>& routes, std::set<std::uint32_t> used) {
  SbrPlan plan;
  for (const cni::IpConfig& ip : addressesOf(result, ifName)) {
    const std::uint32_t table = config.table ? *config.table : takeFreeTable(used, kFirstTable);
    plan.rules.push_back(ruleFor(ip, table));
    if (config.table) continue;
    fillTable(table, ip, gatewayOf(ip, config, result, routes), routes, plan.added);
    if (config.addSourceHints) plan.hints.push_back(hintFor(ip));
  }
  if (config.table) return plan;
  // Neighbours are asked from link-local addresses too, which have no table.
  for (const RouteSpec& route : routes) {
    const bool stays = config.addSourceHints && route.dst.family() == Family::kV4 &&
                       route.scope == RT_SCOPE_LINK && !isHinted(plan.hints, route);
    if (!stays && !isLinkLocal(route)) plan.moved.push_back(route);
  }
  sortForAdding(plan.moved);
  return plan;
}

}  // namespace culvert::plugins
