#include "plugins/bridge/device.h"

#include <net/if.h>

#include <algorithm>

#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"
#include "plugins/shared/settle.h"

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::Rtnl;

constexpr netlink::VlanId kDefaultVlan = 1;
constexpr netlink::VlanId kMaxVlan = 4094;

Result<Link> createBridge(Rtnl& host, const BridgeConfig& config, const std::string& network) {
  auto bridge = host.createBridge({.name = config.bridge,
                                   .mac = MacAddress::random(),
                                   .mtuBytes = config.mtuBytes,
                                   .vlanFiltering = config.usesVlans(),
                                   .alias = hostfw::linkAlias(networkOwner(network))});
  // Another ADD was faster.
  if (!bridge && bridge.error().code == Errc::kAlreadyExists) return host.findLink(config.bridge);
  return bridge;
}

/// The name of the port behind `<bridge>.<vlan>`.
std::string gatewayPortName(const BridgeConfig& config) {
  return hostfw::hostVethName(
      {.network = config.bridge, .containerId = "", .ifName = config.gatewayInterface()});
}

std::vector<IpPrefix> prefixesOf(const std::vector<netlink::Address>& addresses) {
  std::vector<IpPrefix> prefixes;
  for (const netlink::Address& address : addresses)
    prefixes.push_back(address.prefix);
  return prefixes;
}

bool holds(const std::vector<IpPrefix>& list, const IpPrefix& prefix) {
  return std::find(list.begin(), list.end(), prefix) != list.end();
}

/// Whether all ports of the bridge are the far ends of its own gateway interfaces.
bool hasOnlyGatewayPorts(const std::vector<Link>& ports, const hostfw::OwnerHash& network) {
  return std::all_of(ports.begin(), ports.end(), [&](const Link& port) {
    const auto owner = hostfw::parseLinkAlias(port.alias);
    return owner && *owner == network;
  });
}

}  // namespace

Result<Link> ensureBridge(Rtnl& host, const BridgeConfig& config, const std::string& network) {
  auto bridge = host.findLink(config.bridge);
  if (!bridge && bridge.error().code == Errc::kNotFound)
    bridge = createBridge(host, config, network);
  if (!bridge) return bridge;
  if (bridge->kind != "bridge") {
    return makeError(Errc::kInvalidConfig,
                     "bridge: \"" + config.bridge + "\" already exists but is not a bridge");
  }
  if (!bridge->isUp()) {
    prepareHostInterface(config.bridge);
    TRY(host.setUp(bridge->index).context("set '" + config.bridge + "' up"));
  }
  if (config.promiscMode && (bridge->flags & IFF_PROMISC) == 0) {
    TRY(host.setPromiscuous(bridge->index, true)
            .context("set '" + config.bridge + "' promiscuous"));
  }
  return bridge;
}

Result<Link> ensureGatewayInterface(Rtnl& host, const Link& bridge, const BridgeConfig& config,
                                    const std::string& network) {
  if (config.vlan == 0) return bridge;
  const std::string name = config.gatewayInterface();
  auto found = host.findLink(name);
  if (found || found.error().code != Errc::kNotFound) return found;
  // The port is the near end: it is enslaved when it is made; the gateway's end is its peer.
  const auto made = host.createVeth({.name = gatewayPortName(config),
                                     .mac = MacAddress::random(),
                                     .alias = hostfw::linkAlias(networkOwner(network)),
                                     .peerName = name,
                                     .peerMac = MacAddress::random(),
                                     .mtuBytes = config.mtuBytes,
                                     .master = bridge.index});
  if (!made && made.error().code == Errc::kAlreadyExists) return host.findLink(name);
  if (!made) return made.error();
  TRY(host.removePortVlans(made->near.index, {{.first = kDefaultVlan, .last = kDefaultVlan}}));
  TRY(host.addPortVlans(
      made->near.index,
      {{.first = config.vlan, .last = config.vlan, .pvid = true, .untagged = true}}));
  prepareHostInterface(made->near.name);
  prepareHostInterface(name);
  TRY(host.setUp(made->peer).context("set '" + name + "' up"));
  return host.findLink(made->peer);
}

std::vector<IpPrefix> conflicting(const std::vector<IpPrefix>& present,
                                  const std::vector<IpPrefix>& wanted) {
  std::vector<IpPrefix> conflicts;
  for (const IpPrefix& have : present) {
    if (holds(wanted, have)) continue;
    const bool clashes = std::any_of(wanted.begin(), wanted.end(), [&](const IpPrefix& want) {
      return have.family() == want.family() &&
             (have.family() == Family::kV4 || have.overlaps(want));
    });
    if (clashes) conflicts.push_back(have);
  }
  return conflicts;
}

Result<void> ensureGatewayAddresses(Rtnl& host, const Link& link,
                                    const std::vector<IpPrefix>& wanted, bool force) {
  const std::vector<IpPrefix> present = prefixesOf(TRY(host.listAddresses(link.index)));
  for (const IpPrefix& conflict : conflicting(present, wanted)) {
    if (!force) {
      return makeError(
          Errc::kInvalidConfig,
          "\"" + link.name + "\" already has an IP address different from " + wanted.front().text(),
          "it has " + conflict.text() + "; forceAddress: true replaces it");
    }
    TRY(ignoreNotFound(host.removeAddress(link.index, conflict)));
  }
  std::vector<IpPrefix> missing = wanted;
  std::erase_if(missing, [&](const IpPrefix& prefix) { return holds(present, prefix); });
  if (missing.empty()) return {};
  AddressEvents events = TRY(AddressEvents::open());
  for (const IpPrefix& prefix : missing) {
    const Result<void> added = host.addAddress(link.index, {.prefix = prefix});
    if (!added && added.error().code != Errc::kAlreadyExists) return added.error();
    // A bridge somebody else made may still follow its lowest port's MAC: fix it, or the
    // containers' neighbour entries for their gateway go stale.
    if (link.kind == "bridge" && link.mac) TRY(host.setMac(link.index, *link.mac));
  }
  events.await(link.index, missing);
  return {};
}

std::vector<netlink::PortVlan> plannedPortVlans(const BridgeConfig& config) {
  if (!config.usesVlans()) return {};
  const netlink::VlanId native = config.vlan != 0 ? config.vlan : kDefaultVlan;
  std::vector<netlink::PortVlan> vlans{
      {.first = native, .last = native, .pvid = true, .untagged = true}};
  for (const netlink::PortVlan& range : config.trunk) {
    // The native VLAN stays untagged where the trunk's ranges cover it.
    const auto below = static_cast<netlink::VlanId>(std::min<int>(range.last, native - 1));
    const auto above = static_cast<netlink::VlanId>(std::max<int>(range.first, native + 1));
    if (range.first <= below) vlans.push_back({.first = range.first, .last = below});
    if (above <= range.last) vlans.push_back({.first = above, .last = range.last});
  }
  return vlans;
}

Result<void> configurePortVlans(Rtnl& host, netlink::IfIndex port, const BridgeConfig& config) {
  if (!config.usesVlans()) return {};
  if (!config.preserveDefaultVlan)
    TRY(host.removePortVlans(port, {{.first = 1, .last = kMaxVlan}}));
  return host.addPortVlans(port, plannedPortVlans(config));
}

Result<void> verifyPortVlans(Rtnl& host, const Link& port, const BridgeConfig& config) {
  if (!config.usesVlans()) return {};
  const std::vector<netlink::PortVlan> present = TRY(host.listPortVlans(port.index));
  for (const netlink::PortVlan& wanted : plannedPortVlans(config)) {
    for (int id = wanted.first; id <= wanted.last; ++id) {
      const bool found = std::any_of(present.begin(), present.end(), [&](const auto& have) {
        return have.first <= id && id <= have.last && have.pvid == wanted.pvid &&
               have.untagged == wanted.untagged;
      });
      if (found) continue;
      return makeError(Errc::kCheckFailed, "'" + port.name + "' lacks VLAN " + std::to_string(id) +
                                               (wanted.untagged ? ", untagged" : ", tagged"));
    }
  }
  return {};
}

Result<void> collectBridge(Rtnl& host, const BridgeConfig& config, const std::string& network) {
  const auto bridge = host.findLink(config.bridge);
  if (!bridge) return ignoreNotFound(bridge);
  const hostfw::OwnerHash mine = hostfw::ownerHash(networkOwner(network));
  const auto owner = hostfw::parseLinkAlias(bridge->alias);
  if (bridge->kind != "bridge" || !owner || *owner != mine) return {};
  const std::vector<Link> ports = TRY(host.listMembers(bridge->index));
  if (!hasOnlyGatewayPorts(ports, mine)) return {};
  std::vector<netlink::IfIndex> links{bridge->index};
  for (const Link& port : ports)
    links.push_back(port.index);
  return host.removeLinks(links);
}

}  // namespace culvert::plugins
