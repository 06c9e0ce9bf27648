#include "daemons/routing/fib.h"

#include "daemons/routing/settings.h"

namespace culvert::routing {
namespace {

using netlink::Change;

template <class Object>
bool same(const Object& wanted, const Object& actual) {
  return wanted == actual;
}
bool same(const netlink::RouteSpec& wanted, const netlink::RouteSpec& actual) {
  return netlink::isRoute(wanted, actual);
}

template <class Key, class Object>
void diffOf(const std::map<Key, Object>& actual, const std::map<Key, Object>& desired,
            std::vector<Change>& changes) {
  for (const auto& [key, object] : desired) {
    const auto found = actual.find(key);
    if (found == actual.end() || !same(object, found->second))
      changes.push_back({Change::How::kReplace, object});
  }
  for (const auto& [key, object] : actual) {
    if (desired.count(key) == 0) changes.push_back({Change::How::kRemove, object});
  }
}

/// As it would be written: what the kernel tells of the next hop beside its id is refused in a
/// request.
netlink::RouteSpec withoutNexthop(netlink::RouteSpec route) {
  if (!route.nexthopId) return route;
  route.gateway.reset();
  route.encap.reset();
  route.link = netlink::IfIndex::kNone;
  route.onLink = false;
  return route;
}

Result<void> readNeighbours(netlink::Rtnl& rtnl, netlink::IfIndex device, Fib& fib) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (auto& neighbour : TRY(rtnl.listNeighbours(family, device))) {
      if (neighbour.protocol == kProtocol) fib.add(std::move(neighbour));
    }
  }
  for (auto& entry : TRY(netlink::ForwardingDatabase(rtnl).list(device)))
    fib.add(std::move(entry));
  return {};
}

}  // namespace

void Fib::add(netlink::NexthopSpec nexthop) {
  const std::uint32_t id = nexthop.id;
  nexthops[id] = std::move(nexthop);
}

void Fib::add(netlink::RouteSpec route) {
  constexpr std::uint32_t kIpv6Metric = 1024;  // IP6_RT_PRIO_USER: what the kernel gives
  const bool v6 = route.dst.family() == Family::kV6;
  const RouteKey key{route.dst, route.priority.value_or(v6 ? kIpv6Metric : 0)};
  routes[key] = std::move(route);
}

void Fib::add(netlink::NeighbourSpec neighbour) {
  const NeighbourKey key{neighbour.link, neighbour.address};
  neighbours[key] = std::move(neighbour);
}

void Fib::add(netlink::FdbEntry entry) {
  const FdbKey key{entry.link, entry.mac.text()};
  fdb[key] = std::move(entry);
}

void Fib::add(const Fib& other) {
  nexthops.insert(other.nexthops.begin(), other.nexthops.end());
  routes.insert(other.routes.begin(), other.routes.end());
  neighbours.insert(other.neighbours.begin(), other.neighbours.end());
  fdb.insert(other.fdb.begin(), other.fdb.end());
}

std::vector<Change> diff(const Fib& actual, const Fib& desired) {
  std::vector<Change> changes;
  diffOf(actual.nexthops, desired.nexthops, changes);
  diffOf(actual.neighbours, desired.neighbours, changes);
  diffOf(actual.fdb, desired.fdb, changes);
  diffOf(actual.routes, desired.routes, changes);
  netlink::sortForApplying(changes);
  return changes;
}

Result<Fib> readFib(netlink::Rtnl& rtnl, const std::vector<netlink::IfIndex>& devices) {
  Fib fib;
  for (auto& nexthop : TRY(netlink::Nexthops(rtnl).list(kProtocol)))
    fib.add(std::move(nexthop));
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (auto& route :
         TRY(rtnl.listRoutes({.family = family, .table = 254, .protocol = kProtocol})))
      fib.add(withoutNexthop(std::move(route)));
  }
  for (const netlink::IfIndex device : devices)
    TRY(readNeighbours(rtnl, device, fib));
  return fib;
}

}  // namespace culvert::routing
