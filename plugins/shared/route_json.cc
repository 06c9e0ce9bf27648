#include "plugins/shared/route_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace culvert::plugins {
namespace {

using netlink::RouteSpec;

nlohmann::json routeJson(const RouteSpec& route) {
  nlohmann::json json{
      {"dst", route.dst.text()}, {"protocol", route.protocol}, {"type", route.type}};
  if (route.gateway) json["gw"] = route.gateway->text();
  if (route.source) json["src"] = route.source->text();
  if (route.table) json["table"] = *route.table;
  if (route.scope) json["scope"] = *route.scope;
  if (route.priority) json["priority"] = *route.priority;
  if (route.mtuBytes) json["mtu"] = *route.mtuBytes;
  if (route.advmssBytes) json["advmss"] = *route.advmssBytes;
  return json;
}

template <class T>
std::optional<T> readNumber(const cni::ConfigReader& reader, std::string_view key) {
  const auto value = reader.integer(key, 0, std::numeric_limits<T>::max());
  if (!value) return std::nullopt;
  return static_cast<T>(*value);
}

}  // namespace

nlohmann::json routesJson(const std::vector<RouteSpec>& routes) {
  nlohmann::json list = nlohmann::json::array();
  for (const RouteSpec& route : routes)
    list.push_back(routeJson(route));
  return list;
}

std::vector<RouteSpec> readRouteSpecs(const cni::ConfigReader& reader, std::string_view key,
                                      netlink::IfIndex link) {
  std::vector<RouteSpec> routes;
  for (const cni::ConfigReader& item : reader.objects(key)) {
    const auto dst = item.prefix("dst");
    if (!dst) continue;
    RouteSpec route;
    route.dst = *dst;
    route.link = link;
    route.gateway = item.address("gw");
    route.source = item.address("src");
    route.table = readNumber<std::uint32_t>(item, "table");
    route.scope = readNumber<std::uint8_t>(item, "scope");
    route.priority = readNumber<std::uint32_t>(item, "priority");
    route.mtuBytes = readNumber<std::uint32_t>(item, "mtu");
    route.advmssBytes = readNumber<std::uint32_t>(item, "advmss");
    route.protocol = readNumber<std::uint8_t>(item, "protocol").value_or(route.protocol);
    route.type = readNumber<std::uint8_t>(item, "type").value_or(route.type);
    routes.push_back(route);
  }
  return routes;
}

void sortForAdding(std::vector<RouteSpec>& routes) {
  std::stable_partition(routes.begin(), routes.end(),
                        [](const RouteSpec& route) { return !route.gateway; });
}

}  // namespace culvert::plugins
