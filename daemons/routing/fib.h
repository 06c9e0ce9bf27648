#pragma once

#include <map>
#include <utility>
#include <vector>

#include "netlink/changes.h"

namespace culvert::routing {

/// What of the kernel's forwarding tables is ours, or should be.
struct Fib {
  using RouteKey = std::pair<IpPrefix, std::uint32_t>;  // and its metric
  using NeighbourKey = std::pair<netlink::IfIndex, IpAddress>;
  using FdbKey = std::pair<netlink::IfIndex, std::string>;  // and the MAC address as text

  std::map<std::uint32_t, netlink::NexthopSpec> nexthops;
  std::map<RouteKey, netlink::RouteSpec> routes;
  std::map<NeighbourKey, netlink::NeighbourSpec> neighbours;
  std::map<FdbKey, netlink::FdbEntry> fdb;

  void add(netlink::NexthopSpec nexthop);
  void add(netlink::RouteSpec route);
  void add(netlink::NeighbourSpec neighbour);
  void add(netlink::FdbEntry entry);
  void add(const Fib& other);
};

/// What turns `actual` into `desired`, in an order in which no packet is lost
/// (netlink::sortForApplying): next hops, neighbours and FDB entries before the routes that lead to
/// them; when they go, the routes first.
std::vector<netlink::Change> diff(const Fib& actual, const Fib& desired);

/// What the kernel has with our protocol, and on our devices.
Result<Fib> readFib(netlink::Rtnl& rtnl, const std::vector<netlink::IfIndex>& devices);

}  // namespace culvert::routing
