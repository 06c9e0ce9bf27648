#include "plugins/bridge/bridge.h"

#include <linux/if.h>

#include <algorithm>

#include "cni/rollback.h"
#include "ipam/delegate.h"
#include "netlink/sysctl.h"
#include "plugins/bridge/config.h"
#include "plugins/bridge/device.h"
#include "plugins/bridge/verify.h"
#include "plugins/shared/firewall.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"
#include "plugins/shared/settle.h"
#include "plugins/shared/veth_attachment.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::Link;
using netlink::Rtnl;

constexpr std::uint32_t kContainerInterface =
    2;  // in the result: bridge, host end, container's end

/// IPAM's answer, completed by what the bridge knows: gateways, default routes, DNS.
cni::AddResult completed(cni::AddResult result, const BridgeConfig& config) {
  result.interfaces.clear();
  for (cni::IpConfig& ip : result.ips) {
    ip.interface = kContainerInterface;
    if (!ip.gateway && config.isGateway) ip.gateway = ip.address.network().address().next();
  }
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (!config.isDefaultGateway || !hasFamily(result, family)) continue;
    const IpPrefix everything = IpPrefix::any(family);
    const bool routed =
        std::any_of(result.routes.begin(), result.routes.end(),
                    [&](const cni::Route& route) { return route.dst == everything && route.gw; });
    const auto first =
        std::find_if(result.ips.begin(), result.ips.end(),
                     [&](const cni::IpConfig& ip) { return ip.address.family() == family; });
    if (!routed) {
      cni::Route route;
      route.dst = everything;
      route.gw = first->gateway;
      result.routes.push_back(route);
    }
  }
  if (config.dns) result.dns = *config.dns;
  return result;
}

std::vector<IpPrefix> gatewayAddresses(const cni::AddResult& result) {
  std::vector<IpPrefix> addresses;
  for (const cni::IpConfig& ip : result.ips) {
    const IpPrefix gateway(*ip.gateway, ip.address.length());
    if (std::find(addresses.begin(), addresses.end(), gateway) == addresses.end())
      addresses.push_back(gateway);
  }
  return addresses;
}

/// The bridge and what the host adds to it: the gateway's addresses, and forwarding.
Result<std::vector<Link>> prepareHost(Rtnl& host, const cni::Request& request,
                                      const BridgeConfig& config, const cni::AddResult& result) {
  Link bridge = TRY(ensureBridge(host, config, request.network));
  if (!config.isGateway || result.ips.empty()) return std::vector<Link>{std::move(bridge)};
  Link gateway = TRY(ensureGatewayInterface(host, bridge, config, request.network));
  TRY(ensureGatewayAddresses(host, gateway, gatewayAddresses(result), config.forceAddress));
  TRY(enableForwarding(result));
  if (config.vlan == 0) return std::vector<Link>{std::move(bridge)};
  return std::vector<Link>{std::move(bridge), std::move(gateway)};
}

Result<netlink::Veth> createPair(Rtnl& host, const Sandbox& sandbox, const cni::Request& request,
                                 const BridgeConfig& config, const MacAddress& containerMac,
                                 IfIndex bridge) {
  const hostfw::Owner owner = ownerOf(request);
  return host.createVeth({.name = hostfw::hostVethName(owner),
                          .mac = MacAddress::random(),
                          .alias = hostfw::linkAlias(owner),
                          .peerName = request.ifName,
                          .peerMac = containerMac,
                          .peerNs = &sandbox.ns,
                          .mtuBytes = config.mtuBytes,
                          .master = bridge,
                          .hairpin = config.hairpinMode,
                          .isolated = config.portIsolation});
}

/// The container's end: addresses, up, routes; or nothing at all.
Result<void> configureInside(Sandbox& sandbox, IfIndex link, const BridgeConfig& config,
                             const cni::AddResult& result) {
  if (config.disableContainerInterface) return {};
  netlink::InterfaceSetup setup{.link = link, .addresses = {}, .routes = plannedRoutes(result)};
  for (const cni::IpConfig& ip : result.ips)
    setup.addresses.push_back({.prefix = ip.address});
  return configureContainer(sandbox, std::move(setup), result,
                            {.arpNotify = true, .duplicateDetection = config.duplicateDetection});
}

/// The port, and for a bridge without a carrier so far, it and its gateway's interface.
void awaitCarriersOf(Rtnl& host, const Link& port, const std::vector<Link>& bridgeLinks) {
  std::vector<IfIndex> links{port.index};
  for (const Link& link : bridgeLinks) {
    if (link.operState != IF_OPER_UP) links.push_back(link.index);
  }
  awaitCarriers(host, links);
}

cni::Interface describe(const Link& link, const std::string& sandbox) {
  return {.name = link.name,
          .mac = link.mac ? link.mac->text() : "",
          .mtuBytes = link.mtuBytes,
          .sandbox = sandbox,
          .socketPath = {},
          .pciId = {}};
}

Result<cni::AddResult> allocate(const std::optional<ipam::Delegate>& ipam,
                                const cni::Request& request, const BridgeConfig& config,
                                cni::Rollback& rollback) {
  if (!ipam) return completed({}, config);
  cni::AddResult result = TRY(ipam->add(request));
  rollback.onFailure("release addresses", [&ipam, &request] { return ipam->del(request); });
  if (result.ips.empty())
    return makeError(Errc::kInvalidConfig, "IPAM plugin returned missing IP config");
  return completed(std::move(result), config);
}

Result<std::optional<ipam::Delegate>> findIpam(const BridgeConfig& config,
                                               const cni::Request& request) {
  if (config.ipamType.empty()) return std::optional<ipam::Delegate>();
  ipam::Delegate found = TRY(ipam::Delegate::find(config.ipamType, request));
  return std::optional<ipam::Delegate>(std::move(found));
}

Result<cni::AddResult> add(const cni::Request& request) {
  // Everything that can be refused is refused before the first side effect.
  const BridgeConfig config = TRY(parseBridgeConfig(request));
  const std::optional<ipam::Delegate> ipam = TRY(findIpam(config, request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  Rtnl host = TRY(Rtnl::open());
  TRY(refuseExisting(sandbox, host, request));

  cni::Rollback rollback;
  const bool linkFirst = ipam && ipam->needsLink();
  cni::AddResult result;
  if (!linkFirst) result = TRY(allocate(ipam, request, config, rollback));
  std::vector<Link> bridgeLinks = TRY(prepareHost(host, request, config, result));

  const MacAddress mac = config.mac.value_or(MacAddress::random());
  const netlink::Veth veth =
      TRY(createPair(host, sandbox, request, config, mac, bridgeLinks.front().index));
  rollback.onFailure("remove veth", [&request] { return removeVeth(request); });
  // Errors ignored: a host without IPv6 has no such setting.
  static_cast<void>(netlink::writeSysctl("ipv6/conf/" + veth.near.name + "/accept_ra", "0"));
  TRY(configurePortVlans(host, veth.near.index, config));
  if (linkFirst) {
    result = TRY(allocate(ipam, request, config, rollback));
    bridgeLinks = TRY(prepareHost(host, request, config, result));
  }

  // Guards before traffic: they are in place when the container's end comes up.
  rollback.onFailure("remove firewall state", [&request] { return undoHostFirewall(request); });
  TRY(ensureHostFirewall(request, {.masquerade = config.ipMasq, .spoofCheck = config.macSpoofCheck},
                         result, veth.near.name, mac));
  TRY(configureInside(sandbox, veth.peer, config, result)
          .context("configure '" + request.ifName + "'"));
  if (!config.disableContainerInterface) awaitCarriersOf(host, veth.near, bridgeLinks);

  rollback.dismiss();
  Link inside = veth.near;  // both ends of a new pair have the same MTU
  inside.name = request.ifName;
  inside.mac = mac;
  result.interfaces = {describe(bridgeLinks.front(), ""), describe(veth.near, ""),
                       describe(inside, request.netnsPath)};
  if (bridgeLinks.size() > 1) result.interfaces.push_back(describe(bridgeLinks.back(), ""));
  return appendTo(request.prevResult, std::move(result));
}

Result<void> check(const cni::Request& request) {
  const BridgeConfig config = TRY(parseBridgeConfig(request));
  const std::optional<ipam::Delegate> ipam = TRY(findIpam(config, request));
  if (ipam) TRY(ipam->check(request));
  return verifyBridge(request, config);
}

Result<void> gc(const cni::Request& request) {
  const BridgeConfig config = TRY(parseBridgeConfig(request));
  FirstError outcome;
  outcome.note(collectAttachments(request, config.ipamType));
  if (request.validAttachments && request.validAttachments->empty()) {
    Rtnl host = TRY(Rtnl::open());
    outcome.note(collectBridge(host, config, request.network));
  }
  return std::move(outcome).take();
}

Result<void> status(const cni::Request& request) {
  const BridgeConfig config = TRY(parseBridgeConfig(request));
  const std::optional<ipam::Delegate> ipam = TRY(findIpam(config, request));
  if (ipam) TRY(ipam->status(request));
  return bridgeStatus(request, config);
}

}  // namespace

const cni::Plugin kBridge{.name = "bridge",
                          .oldest = cni::Version::k010,
                          .add = add,
                          .del = removeAttachment,
                          .check = check,
                          .gc = gc,
                          .status = status};

}  // namespace culvert::plugins
