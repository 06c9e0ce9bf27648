#include <linux/rtnetlink.h>

#include "netlink/link.h"

namespace culvert::netlink {
namespace {

constexpr std::uint32_t kDefaultPriorityV6 = 1024;  // IP6_RT_PRIO_USER

std::uint32_t priorityOf(const RouteSpec& route) {
  return route.priority.value_or(route.dst.family() == Family::kV6 ? kDefaultPriorityV6 : 0);
}

bool haveSameKey(const RouteSpec& a, const RouteSpec& b) {
  // The kernel tells the type of a route by nexthop id from its nexthop.
  const bool sameType = a.type == b.type || a.nexthopId;
  return a.dst.network() == b.dst.network() && sameType && a.protocol == b.protocol &&
         a.table.value_or(RT_TABLE_MAIN) == b.table.value_or(RT_TABLE_MAIN) &&
         priorityOf(a) == priorityOf(b);
}

}  // namespace

bool isRoute(const RouteSpec& wanted, const RouteSpec& actual) {
  if (!haveSameKey(wanted, actual) || wanted.nexthopId != actual.nexthopId) return false;
  if (wanted.source != actual.source || wanted.mtuBytes != actual.mtuBytes ||
      wanted.advmssBytes != actual.advmssBytes)
    return false;
  if (wanted.scope && actual.scope && wanted.scope != actual.scope) return false;
  if (wanted.nexthopId) return true;
  const bool sameLink = wanted.link == IfIndex::kNone || wanted.link == actual.link;
  return sameLink && wanted.gateway == actual.gateway && wanted.onLink == actual.onLink &&
         wanted.encap == actual.encap;
}

bool isOnLink(const RouteSpec& route) {
  return route.type == RTN_UNICAST && !route.gateway && !route.encap;
}

}  // namespace culvert::netlink
