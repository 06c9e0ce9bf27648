#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "cni/config_reader.h"
#include "netlink/link.h"

namespace culvert::plugins {

/// Routes of one interface as a record keeps them, without the interface.
nlohmann::json routesJson(const std::vector<netlink::RouteSpec>& routes);

/// The list at `key`, for `link`; what is no route is left out.
std::vector<netlink::RouteSpec> readRouteSpecs(const cni::ConfigReader& reader,
                                               std::string_view key, netlink::IfIndex link);

/// Those that others lead through come first: what is on the link before what has a gateway.
void sortForAdding(std::vector<netlink::RouteSpec>& routes);

}  // namespace culvert::plugins
