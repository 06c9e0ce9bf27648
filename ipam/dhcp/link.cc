#include "ipam/dhcp/link.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "base/netns.h"
#include "ipam/dhcp/lease.h"
#include "ipam/dhcp/transport.h"
#include "netlink/rtnl.h"
#include "netlink/sysctl.h"

namespace culvert::ipam::dhcp {
namespace {

using netlink::IfIndex;
using netlink::Rtnl;

constexpr Duration kLinkLocalTime{5000};

/// The link-local address is made when the link comes up. It follows from a MAC that nobody else
/// has, so detecting duplicates of it would only cost a second.
Result<void> enableIpv6(const std::string& ifName) {
  const std::string conf = "ipv6/conf/" + ifName + "/";
  TRY(netlink::ensureSysctl(conf + "disable_ipv6", "0").context("switch IPv6 on for DHCPv6"));
  return netlink::ensureSysctl(conf + "accept_dad", "0");
}

Result<bool> hasLinkLocal(Rtnl& rtnl, IfIndex link) {
  const std::vector<netlink::Address> addresses = TRY(rtnl.listAddresses(link));
  return std::any_of(addresses.begin(), addresses.end(), [](const netlink::Address& each) {
    return each.prefix.family() == Family::kV6 && each.scope == RT_SCOPE_LINK &&
           (each.flags & IFA_F_TENTATIVE) == 0;
  });
}

Result<void> awaitLinkLocal(Rtnl& rtnl, netlink::Socket& events, IfIndex link) {
  const Instant until = now() + kLinkLocalTime;
  while (!TRY(hasLinkLocal(rtnl, link))) {
    const Duration left = until - now();
    if (left.count() <= 0) {
      return makeError(Errc::kTryAgain, "the interface got no IPv6 link-local address within 5 s");
    }
    static_cast<void>(events.receiveEvents(static_cast<int>(left.count())));  // look again
  }
  return {};
}

}  // namespace

Result<void> prepareLink(const std::string& netnsPath, const std::string& ifName, bool v6) {
  auto ns = NetNs::open(netnsPath);
  if (!ns) return makeError(Errc::kInvalidEnvironment, "CNI_NETNS: " + ns.error().message);
  Rtnl rtnl = TRY(Rtnl::openIn(*ns));
  const auto link = rtnl.findLink(ifName);
  if (!link && link.error().code == Errc::kNotFound) {
    return makeError(Errc::kInvalidConfig,
                     "there is no interface '" + ifName + "' to speak through",
                     "dhcp is for interface plugins with a layer 2: bridge, macvlan, vlan, ...");
  }
  const netlink::Link found = TRY(link);
  if (!found.mac)
    return makeError(Errc::kInvalidConfig, "'" + ifName + "' is no Ethernet: DHCP needs one");
  if (!v6) return rtnl.setUp(found.index).context("set '" + ifName + "' up");
  netlink::Socket events = TRY(netlink::Socket::openIn(*ns, NETLINK_ROUTE));
  TRY(events.subscribe(RTNLGRP_IPV6_IFADDR));
  TRY(ns->run([&] { return enableIpv6(ifName); }));
  TRY(rtnl.setUp(found.index).context("set '" + ifName + "' up"));
  return awaitLinkLocal(rtnl, events, found.index);
}

}  // namespace culvert::ipam::dhcp
