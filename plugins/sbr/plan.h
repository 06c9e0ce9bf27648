#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <vector>

#include "base/result.h"
#include "cni/plugin.h"
#include "netlink/link.h"
#include "plugins/shared/record.h"

namespace culvert::plugins {

struct SbrConfig {
  std::optional<std::uint32_t> table;             // somebody else's: only rules are made
  std::optional<IpAddress> gatewayV4, gatewayV6;  // "gateways"
  bool addSourceHints = false;
};

Result<SbrConfig> parseSbrConfig(const cni::Request& request);

/// The addresses of the result that are on `ifName`, or on no interface in particular.
std::vector<cni::IpConfig> addressesOf(const cni::AddResult& result, const std::string& ifName);

/// Where packets from `ip` leave: "gateways", else what the result says of this address, of
/// another one in its subnet, or of a default route; else what the interface's default route in
/// `routes` says. Nothing: there is no way out.
std::optional<IpAddress> gatewayOf(const cni::IpConfig& ip, const SbrConfig& config,
                                   const cni::AddResult& result,
                                   const std::vector<netlink::RouteSpec>& routes);

/// Everything that ADD does, and DEL undoes, in the container.
struct SbrPlan {
  std::vector<netlink::RuleSpec> rules;
  std::vector<netlink::RouteSpec> added;  // to the tables
  std::vector<netlink::RouteSpec> moved;  // out of the main table
  std::vector<netlink::RouteSpec> hints;  // to the main table, with addSourceHints

  nlohmann::json json(netlink::IfIndex link) const;
  static SbrPlan from(const Record& record);
  static netlink::IfIndex linkOf(const Record& record);
};

/// `routes`: the interface's in the main table. `used`: tables not to take.
SbrPlan planSbr(const SbrConfig& config, const cni::AddResult& result, const std::string& ifName,
                const std::vector<netlink::RouteSpec>& routes, std::set<std::uint32_t> used);

}  // namespace culvert::plugins
