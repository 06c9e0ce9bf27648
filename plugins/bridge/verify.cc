#include "plugins/bridge/verify.h"

#include <net/if.h>

#include <algorithm>

#include "ipam/host_local/config.h"
#include "plugins/bridge/device.h"
#include "plugins/shared/firewall.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::Rtnl;

Error checkFailed(const std::string& what) {
  return makeError(Errc::kCheckFailed, what);
}

const cni::Interface* findInterface(const cni::AddResult& result, const std::string& name) {
  const auto found =
      std::find_if(result.interfaces.begin(), result.interfaces.end(),
                   [&](const cni::Interface& i) { return i.name == name && i.sandbox.empty(); });
  return found == result.interfaces.end() ? nullptr : &*found;
}

Result<Link> verifyBridgeLink(Rtnl& host, const BridgeConfig& config,
                              const cni::AddResult& result) {
  auto bridge = host.findLink(config.bridge);
  if (!bridge) return checkFailed("bridge: " + bridge.error().message);
  if (bridge->kind != "bridge") return checkFailed("'" + config.bridge + "' is not a bridge");
  const cni::Interface* said = findInterface(result, config.bridge);
  if (said == nullptr) return checkFailed("prevResult names no bridge '" + config.bridge + "'");
  if (!said->mac.empty() && MacAddress::parse(said->mac) != bridge->mac) {
    return checkFailed("bridge '" + config.bridge + "' has MAC " +
                       (bridge->mac ? bridge->mac->text() : "") + ", prevResult says " + said->mac);
  }
  // IFF_PROMISC as set by request: a running tcpdump does not count.
  const bool promiscuous = (bridge->flags & IFF_PROMISC) != 0;
  if (config.promiscMode && !promiscuous)
    return checkFailed("bridge '" + config.bridge + "' is not promiscuous");
  return bridge;
}

Result<void> verifyGateways(Rtnl& host, const BridgeConfig& config, const cni::AddResult& result) {
  if (!config.isGateway) return {};
  const auto carrier = host.findLink(config.gatewayInterface());
  if (!carrier) return checkFailed("gateway interface: " + carrier.error().message);
  const std::vector<netlink::Address> present = TRY(host.listAddresses(carrier->index));
  for (const cni::IpConfig& ip : result.ips) {
    if (!ip.gateway) continue;
    const IpPrefix gateway(*ip.gateway, ip.address.length());
    const bool found = std::any_of(present.begin(), present.end(),
                                   [&](const netlink::Address& a) { return a.prefix == gateway; });
    if (!found) {
      return checkFailed("gateway address " + gateway.text() + " is missing on '" + carrier->name +
                         "'");
    }
  }
  return {};
}

/// The host's end: a port of the bridge, and the container's peer. It is found by the name ADD gave
/// it, or for a pair that the reference plugin made, by prevResult.
Result<Link> findHostEnd(Rtnl& host, const cni::Request& request, const Link& inside) {
  auto link = host.findLink(hostfw::hostVethName(ownerOf(request)));
  if (link || link.error().code != Errc::kNotFound) return link;
  for (const cni::Interface& said : request.prevResult->interfaces) {
    if (!said.sandbox.empty()) continue;
    auto candidate = host.findLink(said.name);
    if (candidate && candidate->kind == "veth" && candidate->peer == inside.index) return candidate;
  }
  return checkFailed("the host's end of '" + request.ifName + "' is missing");
}

Result<Link> verifyHostEnd(Rtnl& host, const cni::Request& request, const BridgeConfig& config,
                           const Link& bridge, const Link& inside) {
  Link end = TRY(findHostEnd(host, request, inside));
  if (end.kind != "veth" || end.peer != inside.index) {
    return checkFailed("'" + end.name + "' is not the peer of '" + inside.name + "'");
  }
  if (end.master != bridge.index)
    return checkFailed("'" + end.name + "' is no port of '" + bridge.name + "'");
  const cni::Interface* said = findInterface(*request.prevResult, end.name);
  if (said != nullptr && !said->mac.empty() && MacAddress::parse(said->mac) != end.mac) {
    return checkFailed("'" + end.name + "' has MAC " + (end.mac ? end.mac->text() : "") +
                       ", prevResult says " + said->mac);
  }
  if (!end.isUp()) return checkFailed("'" + end.name + "' is down");
  if (end.hairpin != config.hairpinMode)
    return checkFailed("hairpin mode of '" + end.name + "' differs");
  if (end.isolated != config.portIsolation)
    return checkFailed("port isolation of '" + end.name + "' differs");
  return end;
}

/// The gateways with their prefix lengths that ADD would put on the bridge, as far as that is known
/// beforehand: host-local's.
std::vector<IpPrefix> expectedGateways(const cni::Request& request, const BridgeConfig& config) {
  std::vector<IpPrefix> gateways;
  if (config.ipamType != "host-local") return gateways;
  const auto ipam = ipam::parseForStatus(request);
  if (!ipam) return gateways;
  for (const ipam::RangeSet& set : ipam->sets) {
    for (const ipam::Range& range : set)
      gateways.emplace_back(range.gateway, range.subnet.length());
  }
  return gateways;
}

Result<void> verifyForwarding(const std::vector<IpPrefix>& gateways) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto concerns = [&](const IpPrefix& gateway) { return gateway.family() == family; };
    if (std::none_of(gateways.begin(), gateways.end(), concerns)) continue;
    if (TRY(isForwarding(family))) continue;
    return makeError(
        Errc::kLimited,
        std::string("the host does not forward ") + (family == Family::kV4 ? "IPv4" : "IPv6"),
        std::string("set net.") +
            (family == Family::kV4 ? "ipv4.ip_forward" : "ipv6.conf.all.forwarding") +
            "=1; the next ADD would do so");
  }
  return {};
}

}  // namespace

Result<void> verifyBridge(const cni::Request& request, const BridgeConfig& config) {
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  Rtnl host = TRY(Rtnl::open());
  const Link inside =
      TRY(verifyContainerLink(sandbox, request, "veth", !config.disableContainerInterface));
  const Link bridge = TRY(verifyBridgeLink(host, config, result));
  const Link end = TRY(verifyHostEnd(host, request, config, bridge, inside));
  TRY(verifyPortVlans(host, end, config));
  TRY(verifyGateways(host, config, result));
  TRY(verifyLayer3(sandbox, inside, result));
  return verifyHostFirewall(request,
                            {.masquerade = config.ipMasq, .spoofCheck = config.macSpoofCheck},
                            result, end.name, inside.mac.value_or(MacAddress()));
}

Result<void> bridgeStatus(const cni::Request& request, const BridgeConfig& config) {
  Rtnl host = TRY(Rtnl::open());
  const auto bridge = host.findLink(config.bridge);
  if (!bridge) return ignoreNotFound(bridge);  // the first ADD makes it
  if (bridge->kind != "bridge") {
    return makeError(Errc::kNotAvailable,
                     "\"" + config.bridge + "\" already exists but is not a bridge");
  }
  if (!config.isGateway) return {};
  const std::vector<IpPrefix> gateways = expectedGateways(request, config);
  const auto carrier = config.vlan == 0 ? bridge : host.findLink(config.gatewayInterface());
  if (carrier && !config.forceAddress) {
    std::vector<IpPrefix> present;
    for (const netlink::Address& address : TRY(host.listAddresses(carrier->index)))
      present.push_back(address.prefix);
    for (const IpPrefix& conflict : conflicting(present, gateways)) {
      return makeError(Errc::kNotAvailable,
                       "\"" + carrier->name + "\" already has an IP address different from " +
                           gateways.front().text(),
                       "it has " + conflict.text() + "; forceAddress: true replaces it");
    }
  }
  // With no container attached nobody misses forwarding, and the first ADD switches it on.
  if (TRY(host.listMembers(bridge->index)).empty()) return {};
  return verifyForwarding(gateways);
}

}  // namespace culvert::plugins
