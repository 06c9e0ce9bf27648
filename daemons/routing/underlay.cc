#include "daemons/routing/underlay.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace culvert::routing {
namespace {

using netlink::Address;
using netlink::IfIndex;
using netlink::Link;

/// An address that peers could send to, and its link.
struct Candidate {
  const Address* address;
  const Link* link;
};

bool isOurs(const Link& link) {
  return link.name.rfind("culvert", 0) == 0;
}

bool isUsable(const Address& address, const Link& link) {
  constexpr std::uint32_t kBad = IFA_F_DEPRECATED | IFA_F_DADFAILED | IFA_F_TEMPORARY;
  return link.isUp() && (link.flags & IFF_LOOPBACK) == 0 && !isOurs(link) &&
         address.scope == RT_SCOPE_UNIVERSE && (address.flags & kBad) == 0;
}

bool isSingle(const IpPrefix& prefix) {
  return prefix.length() == addressBits(prefix.family());
}

/// Plugins give the host's end of a pod's link an address of the pods' network.
bool isOfPods(const Address& address, const std::vector<IpPrefix>& podNetworks) {
  return std::any_of(podNetworks.begin(), podNetworks.end(), [&](const IpPrefix& network) {
    return network.contains(address.prefix.address());
  });
}

std::vector<Candidate> candidates(const HostNetwork& host, Family family,
                                  const std::vector<IpPrefix>& podNetworks) {
  std::vector<Candidate> result;
  for (const Address& address : host.addresses) {
    if (address.prefix.family() != family || isOfPods(address, podNetworks)) continue;
    for (const Link& link : host.links) {
      if (link.index == address.link && isUsable(address, link))
        result.push_back({&address, &link});
    }
  }
  std::stable_partition(result.begin(), result.end(),
                        [](const Candidate& c) { return !isSingle(c.address->prefix); });
  return result;
}

template <class Wanted>
const Candidate* firstOf(const std::vector<Candidate>& all, Wanted wanted) {
  const auto found = std::find_if(all.begin(), all.end(), wanted);
  return found == all.end() ? nullptr : &*found;
}

const IpAddress* configured(const Settings& settings, Family family) {
  for (const IpAddress& address : settings.nodeIps) {
    if (address.family() == family) return &address;
  }
  return nullptr;
}

const Candidate* withAddress(const std::vector<Candidate>& all, const IpAddress& wanted) {
  return firstOf(all, [&](const Candidate& c) { return c.address->prefix.address() == wanted; });
}

struct Choice {
  const Candidate* candidate = nullptr;
  std::string why;
};

Choice byNodeOrRoute(const std::vector<Candidate>& all, const HostNetwork& host, Family family,
                     const objects::Node* self) {
  if (self != nullptr && self->internal.of(family)) {
    const auto* found = withAddress(all, *self->internal.of(family));
    if (found != nullptr) return {found, "the node's InternalIP"};
  }
  const IfIndex link = host.defaultRoute.of(family);
  if (link != IfIndex::kNone) {
    const auto* found = firstOf(all, [&](const Candidate& c) { return c.link->index == link; });
    if (found != nullptr) return {found, "first address of the link with the default route"};
  }
  if (all.size() == 1) return {&all.front(), "the only address there is"};
  return {nullptr, all.empty()
                       ? "no interface has a global address"
                       : "several addresses, no default route, none is the node's InternalIP: "
                         "set routing.nodeIPs or routing.interface"};
}

Choice choose(const std::vector<Candidate>& all, const HostNetwork& host, const Settings& settings,
              Family family, const objects::Node* self) {
  if (const IpAddress* address = configured(settings, family)) {
    const auto* found = withAddress(all, *address);
    return {found, found != nullptr
                       ? "routing.nodeIPs"
                       : "no interface that is up has " + address->text() + " (routing.nodeIPs)"};
  }
  if (settings.interface.empty()) return byNodeOrRoute(all, host, family, self);
  const auto* found =
      firstOf(all, [&](const Candidate& c) { return c.link->name == settings.interface; });
  return {found, found != nullptr ? "routing.interface"
                                  : "interface " + settings.interface +
                                        " has no such address or is down (routing.interface)"};
}

Result<void> findDefaultRoute(netlink::Rtnl& rtnl, Family family, HostNetwork& host) {
  const netlink::RouteSpec* best = nullptr;
  const auto routes = TRY(rtnl.listRoutes(family, RT_TABLE_MAIN));
  for (const netlink::RouteSpec& route : routes) {
    if (!route.dst.isDefault() || route.type != RTN_UNICAST) continue;
    if (best == nullptr || route.priority.value_or(0) < best->priority.value_or(0)) best = &route;
  }
  if (best == nullptr) return {};
  host.defaultRoute.of(family) = best->link;
  host.gateway.of(family) = best->gateway;
  return {};
}

}  // namespace

Result<HostNetwork> readHostNetwork(netlink::Rtnl& rtnl) {
  HostNetwork host;
  host.links = TRY(rtnl.listLinks());
  host.addresses = TRY(rtnl.listAddresses(IfIndex::kNone));
  for (const Family family : {Family::kV4, Family::kV6})
    TRY(findDefaultRoute(rtnl, family, host));
  return host;
}

Underlay chooseUnderlay(const HostNetwork& host, const Settings& settings,
                        const objects::Node* self, const std::vector<IpPrefix>& podNetworks,
                        PerFamily<std::string>* why) {
  Underlay underlay;
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto all = candidates(host, family, podNetworks);
    const Choice choice = choose(all, host, settings, family, self);
    if (why != nullptr) why->of(family) = choice.why;
    if (choice.candidate == nullptr) continue;
    const Link& link = *choice.candidate->link;
    underlay.of(family) = {choice.candidate->address->prefix, link.index, link.name, link.mtuBytes};
  }
  return underlay;
}

}  // namespace culvert::routing
