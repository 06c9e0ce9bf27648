#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cni/config_reader.h"
#include "netlink/rtnl.h"
#include "plugins/shared/record.h"

namespace culvert::plugins {

/// What an interface loses when it enters or leaves a VRF: the kernel sets it down and up again,
/// and routes stay behind in the table of the domain that it leaves.
struct Belongings {
  std::vector<netlink::RouteSpec> routes;  // but for those that the kernel makes of addresses
  std::vector<netlink::InterfaceSetup::NewAddress> addresses;  // IPv6, not link-local

  nlohmann::json json() const;
  static Belongings from(const cni::ConfigReader& reader, netlink::IfIndex link);
};

/// The belongings of `link`, its routes in `table`.
Result<Belongings> listBelongings(netlink::Rtnl& rtnl, netlink::IfIndex link, std::uint32_t table);

/// Gives back what is missing, the routes into `table`. All are tried.
Result<void> restoreBelongings(netlink::Rtnl& rtnl, netlink::IfIndex link, Belongings belongings,
                               std::uint32_t table);

}  // namespace culvert::plugins
