#include "cni/common_config.h"

#include <nlohmann/json.hpp>

namespace culvert::cni {
namespace {

std::optional<std::uint32_t> readU32(const ConfigReader& reader, std::string_view key) {
  const auto value = reader.integer(key, 0, UINT32_MAX);
  if (!value) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

}  // namespace

std::optional<Dns> readDns(const ConfigReader& parent, std::string_view key) {
  const ConfigReader reader = parent.object(key);
  if (!reader.has("nameservers") && !reader.has("domain") && !reader.has("search") &&
      !reader.has("options")) {
    return std::nullopt;
  }
  return Dns{.nameservers = reader.strings("nameservers"),
             .domain = reader.string("domain"),
             .search = reader.strings("search"),
             .options = reader.strings("options")};
}

std::vector<Route> readRoutes(const ConfigReader& parent, std::string_view key) {
  std::vector<Route> routes;
  for (const ConfigReader& reader : parent.objects(key)) {
    const auto dst = reader.prefix("dst");
    if (!reader.has("dst")) reader.problem("dst", "is missing");
    Route route;
    route.gw = reader.address("gw");
    route.mtuBytes = readU32(reader, "mtu");
    route.advmssBytes = readU32(reader, "advmss");
    route.priority = readU32(reader, "priority");
    route.table = readU32(reader, "table");
    const auto scope = reader.integer("scope", 0, 255);
    if (scope) route.scope = static_cast<std::uint32_t>(*scope);
    if (!dst) continue;
    route.dst = dst->network();
    if (route.gw && route.gw->family() != route.dst.family()) {
      reader.problem("gw", "is of another address family than dst");
    }
    routes.push_back(route);
  }
  return routes;
}

}  // namespace culvert::cni
