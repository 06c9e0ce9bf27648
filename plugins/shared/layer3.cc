#include "plugins/shared/layer3.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <chrono>

#include "netlink/sysctl.h"
#include "plugins/shared/settle.h"

namespace culvert::plugins {
namespace {

using netlink::Address;
using netlink::InterfaceSetup;
using netlink::Link;
using netlink::RouteSpec;

constexpr std::chrono::seconds kDetectionTimeout{5};

Error checkFailed(const std::string& what) {
  return makeError(Errc::kCheckFailed, what);
}

/// IPv6 must be on in the namespace and on the interface; runs inside the namespace.
Result<void> enableIpv6(const std::string& ifName, const Layer3Options& options) {
  const std::string conf = "ipv6/conf/" + ifName + "/";
  for (const std::string& name : {std::string("lo"), ifName}) {
    const auto disabled = netlink::readSysctl("ipv6/conf/" + name + "/disable_ipv6");
    if (!disabled) {
      return makeError(Errc::kInvalidConfig,
                       "the configuration assigns an IPv6 address, but this kernel has IPv6 off",
                       disabled.error().message);
    }
    if (*disabled != "0") TRY(netlink::writeSysctl("ipv6/conf/" + name + "/disable_ipv6", "0"));
  }
  TRY(netlink::writeSysctl(conf + "keep_addr_on_down", "1"));
  if (options.neighbourNotify) TRY(netlink::writeSysctl(conf + "ndisc_notify", "1"));
  if (options.duplicateDetection) TRY(netlink::writeSysctl(conf + "enhanced_dad", "1"));
  return netlink::writeSysctl(conf + "accept_dad", options.duplicateDetection ? "1" : "0");
}

/// Whether detection has ended for all of the link's addresses.
Result<bool> detectionEnded(netlink::Rtnl& rtnl, netlink::IfIndex link) {
  bool ended = true;
  for (const Address& address : TRY(rtnl.listAddresses(link))) {
    if ((address.flags & IFA_F_DADFAILED) != 0) {
      return makeError(Errc::kIo,
                       "IPv6 address " + address.prefix.text() + " is in use by somebody else");
    }
    if ((address.flags & IFA_F_TENTATIVE) != 0) ended = false;
  }
  return ended;
}

Result<void> awaitDetection(Sandbox& sandbox, netlink::Socket& events, netlink::IfIndex link) {
  const auto deadline = std::chrono::steady_clock::now() + kDetectionTimeout;
  while (!TRY(detectionEnded(sandbox.rtnl, link))) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return makeError(Errc::kTryAgain, "IPv6 duplicate address detection did not end in 5 s");
    static_cast<void>(
        events.receiveEvents(static_cast<int>(left.count())));  // any news: look again
  }
  return {};
}

std::optional<IpAddress> firstGateway(const cni::AddResult& result, Family family) {
  for (const cni::IpConfig& ip : result.ips) {
    if (ip.gateway && ip.gateway->family() == family) return ip.gateway;
  }
  return std::nullopt;
}

bool satisfies(const RouteSpec& have, const cni::Route& want) {
  if (have.dst != want.dst) return false;
  if (want.gw && !want.dst.isDefault() && have.gateway != want.gw) return false;
  if (want.table && have.table != want.table) return false;
  if (want.priority && have.priority != want.priority) return false;
  if (want.mtuBytes && have.mtuBytes != want.mtuBytes) return false;
  return !want.advmssBytes || have.advmssBytes == want.advmssBytes;
}

Result<void> verifyRoutes(Sandbox& sandbox, const cni::AddResult& result) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto concerns = [&](const cni::Route& route) { return route.dst.family() == family; };
    if (std::none_of(result.routes.begin(), result.routes.end(), concerns)) continue;
    const std::vector<RouteSpec> have = TRY(sandbox.rtnl.listRoutes(family));
    for (const cni::Route& want : result.routes) {
      if (!concerns(want)) continue;
      const bool found = std::any_of(
          have.begin(), have.end(), [&](const RouteSpec& route) { return satisfies(route, want); });
      if (!found) {
        return checkFailed("route " + want.dst.text() + (want.gw ? " via " + want.gw->text() : "") +
                           " is missing in the container");
      }
    }
  }
  return {};
}

std::string forwardingSysctl(Family family) {
  return family == Family::kV4 ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding";
}

}  // namespace

bool hasFamily(const cni::AddResult& result, Family family) {
  return std::any_of(result.ips.begin(), result.ips.end(),
                     [&](const cni::IpConfig& ip) { return ip.address.family() == family; });
}

std::vector<RouteSpec> plannedRoutes(const cni::AddResult& result) {
  std::vector<RouteSpec> routes;
  for (const cni::Route& route : result.routes) {
    RouteSpec spec;
    spec.dst = route.dst;
    spec.gateway = route.gw ? route.gw : firstGateway(result, route.dst.family());
    // An on-link scope and a gateway exclude each other (fib_check_nh): the scope was asked for.
    if (route.scope && *route.scope >= RT_SCOPE_LINK && !route.gw) spec.gateway.reset();
    if (route.scope) spec.scope = static_cast<std::uint8_t>(*route.scope);
    spec.priority = route.priority;
    spec.table = route.table;
    spec.mtuBytes = route.mtuBytes;
    spec.advmssBytes = route.advmssBytes;
    routes.push_back(spec);
  }
  return routes;
}

Result<void> configureContainer(Sandbox& sandbox, InterfaceSetup setup,
                                const cni::AddResult& result, const Layer3Options& options) {
  const bool v6 = hasFamily(result, Family::kV6);
  if (v6) {
    const Link link = TRY(sandbox.rtnl.findLink(setup.link));
    TRY(sandbox.ns.run([&] { return enableIpv6(link.name, options); }));
  }
  setup.arpNotify = options.arpNotify && hasFamily(result, Family::kV4);
  for (auto& address : setup.addresses)
    address.duplicateDetection = options.duplicateDetection;
  if (!v6) return sandbox.rtnl.configure(setup);
  if (!options.duplicateDetection) {
    AddressEvents addresses = TRY(AddressEvents::openIn(sandbox.ns));
    return configureAndSettle(sandbox.rtnl, setup, std::move(addresses));
  }

  netlink::Socket events = TRY(netlink::Socket::openIn(sandbox.ns, NETLINK_ROUTE));
  TRY(events.subscribe(RTNLGRP_IPV6_IFADDR));
  TRY(sandbox.rtnl.configure(setup));
  return awaitDetection(sandbox, events, setup.link);
}

void prepareHostInterface(const std::string& name) {
  static_cast<void>(netlink::writeSysctl("ipv6/conf/" + name + "/accept_ra", "0"));
  static_cast<void>(netlink::writeSysctl("ipv6/conf/" + name + "/accept_dad", "0"));
}

Result<void> enableForwarding(const cni::AddResult& result) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (!hasFamily(result, family)) continue;
    TRY(netlink::ensureSysctl(forwardingSysctl(family), "1").context("enable forwarding"));
  }
  return {};
}

Result<bool> isForwarding(Family family) {
  const std::string value = TRY(netlink::readSysctl(forwardingSysctl(family)));
  return value == "1";
}

Result<void> verifyLayer3(Sandbox& sandbox, const Link& link, const cni::AddResult& result) {
  const std::vector<Address> have = TRY(sandbox.rtnl.listAddresses(link.index));
  for (const cni::IpConfig& want : result.ips) {
    const bool found = std::any_of(have.begin(), have.end(), [&](const Address& address) {
      return address.prefix == want.address;
    });
    const bool ours = !want.interface || *want.interface >= result.interfaces.size() ||
                      result.interfaces[*want.interface].name == link.name;
    if (ours && !found) {
      return checkFailed("address " + want.address.text() + " is missing on '" + link.name + "'");
    }
  }
  return verifyRoutes(sandbox, result);
}

Result<const cni::AddResult*> requirePrevResult(const cni::Request& request) {
  if (!request.prevResult) {
    return makeError(Errc::kInvalidConfig, "required prevResult missing");
  }
  return &*request.prevResult;
}

Result<Link> verifyContainerLink(Sandbox& sandbox, const cni::Request& request,
                                 const std::string& kind, bool up) {
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  const auto said = std::find_if(
      result.interfaces.begin(), result.interfaces.end(),
      [&](const cni::Interface& i) { return i.name == request.ifName && !i.sandbox.empty(); });
  if (said == result.interfaces.end()) {
    return checkFailed("prevResult names no interface '" + request.ifName + "' in a sandbox");
  }
  if (said->sandbox != request.netnsPath) {
    return checkFailed("sandbox in prevResult '" + said->sandbox + "' is not CNI_NETNS '" +
                       request.netnsPath + "'");
  }
  auto link = sandbox.rtnl.findLink(request.ifName);
  if (!link) return checkFailed("container interface: " + link.error().message);
  if (link->kind != kind)
    return checkFailed("'" + request.ifName + "' is not a " + kind + " interface");
  const std::string mac = link->mac ? link->mac->text() : "";
  if (!said->mac.empty() && MacAddress::parse(said->mac) != link->mac) {
    return checkFailed("'" + request.ifName + "' has MAC " + mac + ", prevResult says " +
                       said->mac);
  }
  if (up && !link->isUp()) return checkFailed("'" + request.ifName + "' is down");
  return link;
}

cni::AddResult appendTo(const std::optional<cni::AddResult>& previous, cni::AddResult own) {
  if (!previous) return own;
  cni::AddResult all = *previous;
  const auto shift = static_cast<std::uint32_t>(all.interfaces.size());
  for (cni::IpConfig& ip : own.ips) {
    if (ip.interface) ip.interface = *ip.interface + shift;
  }
  all.interfaces.insert(all.interfaces.end(), own.interfaces.begin(), own.interfaces.end());
  all.ips.insert(all.ips.end(), own.ips.begin(), own.ips.end());
  all.routes.insert(all.routes.end(), own.routes.begin(), own.routes.end());
  if (!own.dns.empty()) all.dns = own.dns;
  return all;
}

}  // namespace culvert::plugins
