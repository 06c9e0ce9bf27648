#include "plugins/ptp/ptp.h"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "cni/common_config.h"
#include "cni/rollback.h"
#include "ipam/delegate.h"
#include "plugins/shared/config.h"
#include "plugins/shared/firewall.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"
#include "plugins/shared/settle.h"
#include "plugins/shared/veth_attachment.h"

namespace culvert::plugins {
namespace {

using netlink::InterfaceSetup;
using netlink::Link;
using netlink::RouteSpec;
using netlink::Rtnl;

struct PtpConfig {
  bool ipMasq = false;
  std::uint32_t mtuBytes = 0;   // 0: the kernel's default
  std::string ipamType;         // never empty: there is no layer 2 to fall back to
  std::optional<cni::Dns> dns;  // replaces IPAM's
};

Result<PtpConfig> parsePtpConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  PtpConfig config;
  config.ipMasq = readMasquerade(reader);
  config.mtuBytes = readMtu(reader);
  config.ipamType = reader.object("ipam").string("type");
  config.dns = cni::readDns(reader, "dns");
  if (config.ipamType.empty()) problems.add("ipam.type", "is missing: ptp needs addresses");
  TRY(problems.take());
  return config;
}

/// Inside, everything is reached through the gateway: an on-link route to it, then the subnet via
/// it. The kernel's own connected route would claim the subnet to be on this link.
InterfaceSetup planInside(netlink::IfIndex link, const cni::AddResult& result) {
  InterfaceSetup setup{.link = link, .addresses = {}, .routes = {}};
  for (const cni::IpConfig& ip : result.ips) {
    const IpAddress& own = ip.address.address();
    setup.addresses.push_back({.prefix = ip.address, .connectedRoute = false});
    RouteSpec toGateway;
    toGateway.dst = IpPrefix::host(*ip.gateway);
    toGateway.source = own;
    toGateway.scope = RT_SCOPE_LINK;
    setup.routes.push_back(toGateway);
    if (ip.address == IpPrefix::host(own)) continue;  // a subnet of one
    RouteSpec subnet;
    subnet.dst = ip.address.network();
    subnet.gateway = ip.gateway;
    subnet.source = own;
    setup.routes.push_back(subnet);
  }
  for (RouteSpec& route : plannedRoutes(result))
    setup.routes.push_back(std::move(route));
  return setup;
}

/// On the host: the gateway's address on each pair, and a route to each of the container's.
InterfaceSetup planHost(netlink::IfIndex link, const cni::AddResult& result) {
  InterfaceSetup setup{.link = link, .addresses = {}, .routes = {}};
  for (const cni::IpConfig& ip : result.ips) {
    const IpPrefix gateway = IpPrefix::host(*ip.gateway);
    const bool known = std::any_of(setup.addresses.begin(), setup.addresses.end(),
                                   [&](const auto& address) { return address.prefix == gateway; });
    if (!known) setup.addresses.push_back({.prefix = gateway});
    RouteSpec toContainer;
    toContainer.dst = IpPrefix::host(ip.address.address());
    toContainer.scope = RT_SCOPE_HOST;
    setup.routes.push_back(toContainer);
  }
  return setup;
}

Result<cni::AddResult> allocate(const ipam::Delegate& ipam, const cni::Request& request,
                                const PtpConfig& config, cni::Rollback& rollback) {
  cni::AddResult result = TRY(ipam.add(request));
  rollback.onFailure("release addresses", [&ipam, &request] { return ipam.del(request); });
  if (result.ips.empty())
    return makeError(Errc::kInvalidConfig, "IPAM plugin returned missing IP config");
  result.interfaces.clear();
  for (cni::IpConfig& ip : result.ips) {
    if (!ip.gateway) {
      return makeError(Errc::kInvalidConfig,
                       "IPAM gave " + ip.address.text() + " without a gateway, which ptp needs");
    }
    ip.interface = 1;
  }
  if (config.dns) result.dns = *config.dns;
  return result;
}

Result<netlink::Veth> createPair(Rtnl& host, const Sandbox& sandbox, const cni::Request& request,
                                 const PtpConfig& config, const MacAddress& containerMac) {
  const hostfw::Owner owner = ownerOf(request);
  return host.createVeth({.name = hostfw::hostVethName(owner),
                          .mac = MacAddress::random(),
                          .alias = hostfw::linkAlias(owner),
                          .up = false,
                          .peerName = request.ifName,
                          .peerMac = containerMac,
                          .peerNs = &sandbox.ns,
                          .mtuBytes = config.mtuBytes});
}

std::vector<cni::Interface> describe(const Link& hostEnd, const MacAddress& containerMac,
                                     const cni::Request& request) {
  const cni::Interface outside{.name = hostEnd.name,
                               .mac = hostEnd.mac ? hostEnd.mac->text() : "",
                               .mtuBytes = hostEnd.mtuBytes,
                               .sandbox = "",
                               .socketPath = {},
                               .pciId = {}};
  cni::Interface inside = outside;  // both ends of a new pair have the same MTU
  inside.name = request.ifName;
  inside.mac = containerMac.text();
  inside.sandbox = request.netnsPath;
  return {outside, inside};
}

Result<cni::AddResult> add(const cni::Request& request) {
  // Everything that can be refused is refused before the first side effect.
  const PtpConfig config = TRY(parsePtpConfig(request));
  const ipam::Delegate ipam = TRY(ipam::Delegate::find(config.ipamType, request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  Rtnl host = TRY(Rtnl::open());
  TRY(refuseExisting(sandbox, host, request));

  cni::Rollback rollback;
  cni::AddResult result = TRY(allocate(ipam, request, config, rollback));
  TRY(enableForwarding(result));
  const MacAddress mac = MacAddress::random();
  const netlink::Veth veth = TRY(createPair(host, sandbox, request, config, mac));
  rollback.onFailure("remove veth", [&request] { return removeVeth(request); });
  rollback.onFailure("remove firewall state", [&request] { return undoHostFirewall(request); });
  TRY(ensureHostFirewall(request, {.masquerade = config.ipMasq}, result, veth.near.name, mac));

  TRY(configureContainer(sandbox, planInside(veth.peer, result), result, {})
          .context("configure '" + request.ifName + "'"));
  prepareHostInterface(veth.near.name);
  AddressEvents events = TRY(AddressEvents::open());
  TRY(configureAndSettle(host, planHost(veth.near.index, result), std::move(events))
          .context("configure '" + veth.near.name + "'"));
  awaitCarriers(sandbox.rtnl, {veth.peer});
  rollback.dismiss();
  result.interfaces = describe(veth.near, mac, request);
  return appendTo(request.prevResult, std::move(result));
}

/// The host's routes to the container; the pair may have been made by the reference plugin, under
/// another name, so only the routes count.
Result<void> verifyHostRoutes(const cni::AddResult& result) {
  Rtnl host = TRY(Rtnl::open());
  for (const cni::IpConfig& ip : result.ips) {
    const IpPrefix target = IpPrefix::host(ip.address.address());
    const std::vector<RouteSpec> routes = TRY(host.listRoutes(target.family(), RT_TABLE_MAIN));
    const bool found = std::any_of(routes.begin(), routes.end(),
                                   [&](const RouteSpec& route) { return route.dst == target; });
    if (!found) return makeError(Errc::kCheckFailed, "the host has no route to " + target.text());
  }
  return {};
}

Result<void> check(const cni::Request& request) {
  const PtpConfig config = TRY(parsePtpConfig(request));
  const ipam::Delegate ipam = TRY(ipam::Delegate::find(config.ipamType, request));
  TRY(ipam.check(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  const Link inside = TRY(verifyContainerLink(sandbox, request, "veth", true));
  TRY(verifyLayer3(sandbox, inside, result));
  TRY(verifyHostRoutes(result));
  return verifyHostFirewall(request, {.masquerade = config.ipMasq}, result, "",
                            inside.mac.value_or(MacAddress()));
}

Result<void> gc(const cni::Request& request) {
  const PtpConfig config = TRY(parsePtpConfig(request));
  return collectAttachments(request, config.ipamType);
}

/// Whether the network has pairs on this host; looked at only if forwarding is off.
Result<bool> hasLinks(const std::string& network) {
  Rtnl host = TRY(Rtnl::open());
  const std::string hash = hostfw::ownerHash(networkOwner(network)).network;
  const std::vector<Link> links = TRY(host.listLinks());
  return std::any_of(links.begin(), links.end(), [&](const Link& link) {
    const auto owner = hostfw::parseLinkAlias(link.alias);
    return owner && owner->network == hash;
  });
}

Result<void> status(const cni::Request& request) {
  const PtpConfig config = TRY(parsePtpConfig(request));
  const ipam::Delegate ipam = TRY(ipam::Delegate::find(config.ipamType, request));
  TRY(ipam.status(request));
  if (TRY(isForwarding(Family::kV4)) || !TRY(hasLinks(request.network))) return {};
  return makeError(Errc::kLimited, "the host does not forward IPv4",
                   "set net.ipv4.ip_forward=1; the next ADD would do so");
}

}  // namespace

const cni::Plugin kPtp{.name = "ptp",
                       .oldest = cni::Version::k010,
                       .add = add,
                       .del = removeAttachment,
                       .check = check,
                       .gc = gc,
                       .status = status};

}  // namespace culvert::plugins
