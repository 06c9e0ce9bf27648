#include "daemons/routing/plan.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/digest.h"

namespace culvert::routing {
namespace {

using objects::Node;

constexpr std::chrono::seconds kWarmUpKeepalive{5};

/// The networks of one family and one rule, which one next hop serves.
using Groups = std::map<std::pair<Family, TunnelRule>, std::vector<IpPrefix>>;

Groups groupNetworks(const Surroundings& here, const std::vector<IpPrefix>& networks) {
  Groups groups;
  for (const IpPrefix& network : networks)
    groups[{network.family(), ruleFor(here, network)}].push_back(network);
  return groups;
}

netlink::NexthopSpec tunnelNexthop(const Surroundings& here, const Path& path) {
  netlink::TunnelEncap encap;
  encap.id = path.kind == Path::Kind::kVxlanL3 ? here.settings.vni : 0;
  encap.destination = path.endpoint;
  encap.source = here.underlay.of(path.endpoint.family())->address.address();
  encap.checksum = path.endpoint.family() == Family::kV6;  // RFC 8200 section 8.1: UDP needs it
  netlink::NexthopSpec nexthop;
  nexthop.link = path.kind == Path::Kind::kVxlanL3 ? here.devices.vxlanL3 : here.devices.ipip;
  nexthop.encap = encap;
  return nexthop;
}

/// The peer's first address of that family.
std::optional<IpAddress> baseAddress(const std::vector<IpPrefix>& networks, Family family) {
  for (const IpPrefix& network : networks) {
    if (network.family() == family) return network.address();
  }
  return std::nullopt;
}

/// RFC 4291 appendix A.
IpAddress linkLocalOf(const MacAddress& mac) {
  const std::uint8_t* m = mac.bytes();
  const std::array<std::uint8_t, 16> bytes{
      0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<std::uint8_t>(m[0] ^ 2),
      m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  return IpAddress::fromBytes(Family::kV6, bytes.data());
}

MacAddress macOf(const Node& peer, Family outer) {
  const auto& published = peer.vtep.of(outer);
  return published ? published->mac : vtepMac(peer.meta.name, outer);
}

/// Classic VXLAN: the gateway is a neighbour that is the peer's VTEP, whose MAC address the FDB
/// maps to its endpoint (RFC 7348 section 4.1, without learning). Returns the gateway: the peer's
/// base address, or for IPv6 a link-local one. IPv6 refuses a gateway that a route leads elsewhere,
/// as that to the base address does when a direct path becomes this one.
IpAddress addVtep(const Surroundings& here, const Node& peer, const Path& path,
                  const IpAddress& base, Fib& fib) {
  const Family outer = path.endpoint.family();
  const netlink::IfIndex device = here.devices.vxlan.of(outer);
  const MacAddress mac = macOf(peer, outer);
  const IpAddress gateway = base.family() == Family::kV6 ? linkLocalOf(mac) : base;
  netlink::NeighbourSpec neighbour;
  neighbour.link = device;
  neighbour.address = gateway;
  neighbour.mac = mac;
  neighbour.protocol = kProtocol;
  fib.add(neighbour);
  netlink::FdbEntry entry;
  entry.link = device;
  entry.mac = mac;
  entry.remote = path.endpoint;
  fib.add(entry);
  return gateway;
}

netlink::NexthopSpec gatewayNexthop(const IpAddress& gateway, netlink::IfIndex link, bool onLink) {
  netlink::NexthopSpec nexthop;
  nexthop.gateway = gateway;
  nexthop.link = link;
  nexthop.onLink = onLink;
  return nexthop;
}

/// A peer's key of that slot, if it has one and we have the device for it.
std::optional<netlink::PublicKey> keyOf(const Surroundings& here, const Node& peer,
                                        std::size_t slot) {
  if (slot >= peer.wireguardKeys.size() ||
      here.devices.wireguard[slot] == netlink::IfIndex::kNone) {
    return std::nullopt;
  }
  return netlink::PublicKey::parse(peer.wireguardKeys[slot]);
}

/// Who rotates no keys has slot 0 only.
netlink::IfIndex wireguardDevice(const Surroundings& here, const Node& peer) {
  const std::size_t slot = keyOf(here, peer, here.wireguardSlot) ? here.wireguardSlot : 0;
  return here.devices.wireguard[slot];
}

netlink::NexthopSpec planNexthop(const Surroundings& here, const Node& peer,
                                 const PeerPlan::Use& use, const IpAddress& base, Fib& fib) {
  switch (use.path.kind) {
    case Path::Kind::kDirect:
      return gatewayNexthop(use.path.endpoint, use.path.link, false);
    case Path::Kind::kVxlan:
      return gatewayNexthop(addVtep(here, peer, use.path, base, fib),
                            here.devices.vxlan.of(use.path.endpoint.family()), true);
    case Path::Kind::kWireguard: {
      netlink::NexthopSpec nexthop;
      nexthop.link = wireguardDevice(here, peer);
      return nexthop;
    }
    case Path::Kind::kVxlanL3:
    case Path::Kind::kIpip:
      return tunnelNexthop(here, use.path);
    case Path::Kind::kNone:
    case Path::Kind::kNative:
      break;
  }
  std::abort();  // has no next hop
}

/// One of the two: handshakes that both begin at the same time undo each other, and are tried again
/// 5 s later.
bool warmsUp(const Surroundings& here, const Node& peer) {
  return here.wireguardWarmingUp && here.thisNode < peer.meta.name;
}

/// All networks that go through the tunnel, of both families, belong to the one key of each slot.
void addWireguard(const Surroundings& here, const Node& peer, const PeerPlan::Use& use,
                  PerSlot<WireguardPeers>& slots) {
  const std::uint16_t port =
      peer.wireguardPort != 0 ? peer.wireguardPort : here.settings.wireguardPort;
  for (std::size_t slot = 0; slot < kKeySlots; ++slot) {
    const auto key = keyOf(here, peer, slot);
    if (!key) continue;
    WireguardPeerPlan& plan = slots[slot][*key];
    plan.endpoint = {use.path.endpoint, static_cast<std::uint16_t>(port + slot)};
    plan.allowedIps.insert(plan.allowedIps.end(), use.networks.begin(), use.networks.end());
    std::sort(plan.allowedIps.begin(), plan.allowedIps.end());
    if (slot != here.wireguardSlot && warmsUp(here, peer)) plan.keepalive = kWarmUpKeepalive;
  }
}

void addRoutes(const Surroundings& here, const PeerPlan::Use& use, std::uint32_t nexthop,
               Fib& fib) {
  for (const IpPrefix& network : use.networks) {
    netlink::RouteSpec route;
    route.dst = network;
    route.nexthopId = nexthop;
    route.protocol = kProtocol;
    route.source = here.hostAddress.of(network.family());
    fib.add(route);
  }
}

}  // namespace

bool covers(const IpPrefix& wide, const IpPrefix& network) {
  return wide.length() <= network.length() && wide.contains(network.address());
}

const objects::IpPool* poolOf(const Surroundings& here, const IpPrefix& network) {
  const objects::IpPool* longest = nullptr;
  for (const objects::IpPool& pool : here.pools) {
    if (covers(pool.cidr, network) &&
        (longest == nullptr || longest->cidr.length() < pool.cidr.length()))
      longest = &pool;
  }
  return longest;
}

TunnelRule ruleFor(const Surroundings& here, const IpPrefix& network) {
  const objects::IpPool* pool = poolOf(here, network);
  if (pool != nullptr) return {pool->encapsulation, pool->mode};
  return {here.settings.encapsulation, here.settings.mode};
}

std::uint32_t NexthopIds::of(const std::string& what) {
  const auto found = ids_.find(what);
  if (found != ids_.end()) return found->second;
  // The upper half of what a nexthop id may be (u32, not 0), out of the way of others' small ones.
  constexpr std::uint32_t kOurs = 0x80000000;
  auto id = static_cast<std::uint32_t>(std::stoul(sha512Hex(what, 8), nullptr, 16)) | kOurs;
  while (!taken_.insert(id).second)
    id = (id + 1) | kOurs;
  ids_[what] = id;
  return id;
}

PeerPlan planPeer(const Surroundings& here, const Node& peer, const std::vector<IpPrefix>& networks,
                  NexthopIds& ids) {
  PeerPlan plan;
  for (const auto& [group, members] : groupNetworks(here, networks)) {
    const auto& [family, rule] = group;
    PeerPlan::Use use{family, rule, choosePath(rule, peer, family, here.underlay, here.reach),
                      members};
    if (use.path.kind != Path::Kind::kNone && use.path.kind != Path::Kind::kNative) {
      auto nexthop = planNexthop(here, peer, use, *baseAddress(networks, family), plan.fib);
      nexthop.family = nexthop.gateway ? nexthop.gateway->family() : family;
      nexthop.protocol = kProtocol;
      nexthop.id = ids.of(peer.meta.name + (family == Family::kV4 ? " 4 " : " 6 ") +
                          toText(rule.encapsulation) + " " + toText(rule.mode));
      addRoutes(here, use, nexthop.id, plan.fib);
      plan.fib.add(nexthop);
      if (use.path.kind == Path::Kind::kWireguard) addWireguard(here, peer, use, plan.wireguard);
    }
    plan.uses.push_back(std::move(use));
  }
  return plan;
}

MacAddress vtepMac(const std::string& node, Family outer) {
  const std::string hex =
      sha512Hex("culvert vtep " + node + (outer == Family::kV4 ? " 4" : " 6"), 10);
  std::string text = "66";  // locally administered, unicast
  for (std::size_t i = 0; i < hex.size(); i += 2)
    text += ":" + hex.substr(i, 2);
  return *MacAddress::parse(text);
}

MacAddress ownVtepMac(const Surroundings& here, Family outer) {
  const auto& published = here.publishedMac.of(outer);
  return published ? *published : vtepMac(here.thisNode, outer);
}

Fib planOwn(const std::vector<IpPrefix>& networks) {
  constexpr std::uint8_t kBlackhole = 6;             // RTN_BLACKHOLE
  constexpr std::uint32_t kLastResort = 0x7fffffff;  // after whatever a bridge or a tool has there
  Fib fib;
  for (const IpPrefix& network : networks) {
    netlink::RouteSpec route;
    route.dst = network;
    route.type = kBlackhole;
    route.priority = kLastResort;
    route.protocol = kProtocol;
    fib.add(route);
  }
  return fib;
}

}  // namespace culvert::routing
