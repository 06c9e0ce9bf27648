#include "daemons/routing/path.h"

#include <algorithm>

#include "netlink/wireguard_key.h"

namespace culvert::routing {
namespace {

using objects::Encapsulation;
using objects::Node;
using objects::TunnelMode;

Family other(Family family) {
  return family == Family::kV4 ? Family::kV6 : Family::kV4;
}

/// The peer's endpoint of that family, if we can send to it.
std::optional<IpAddress> endpointOf(const Node& peer, const Underlay& underlay, Family family) {
  return underlay.of(family) ? peer.endpoint.of(family) : std::nullopt;
}

Path none(std::string why) {
  return {Path::Kind::kNone, {}, {}, std::move(why)};
}

/// IPv6 pods need an IPv6 gateway, IPv4 ones can do with either (RTA_VIA). `doubtful` becomes true
/// if one was left out because it does not answer.
std::optional<Path> directPath(const Node& peer, Family pods, const Underlay& underlay,
                               const Reachability& reach, bool mustAnswer, bool& doubtful) {
  for (const Family family : {pods, Family::kV6}) {
    const auto endpoint = endpointOf(peer, underlay, family);
    if (!endpoint) continue;
    const Reach found = reach(*endpoint);
    if (found.onLink && mustAnswer && !found.answers) {
      doubtful = true;
    } else if (found.onLink) {
      return Path{Path::Kind::kDirect, *endpoint, found.link, endpoint->text() + " is on-link"};
    }
  }
  return std::nullopt;
}

Path::Kind kindOf(Encapsulation encapsulation) {
  switch (encapsulation) {
    case Encapsulation::kVxlanL3:
      return Path::Kind::kVxlanL3;
    case Encapsulation::kVxlan:
      return Path::Kind::kVxlan;
    case Encapsulation::kIpip:
      return Path::Kind::kIpip;
    case Encapsulation::kWireguard:
      return Path::Kind::kWireguard;
    case Encapsulation::kNone:
      break;
  }
  return Path::Kind::kNone;
}

bool receives(const Node& peer, Encapsulation encapsulation) {
  if (peer.tunnels.empty()) return true;
  return std::find(peer.tunnels.begin(), peer.tunnels.end(), toText(encapsulation)) !=
         peer.tunnels.end();
}

/// What the peer can be sent: what the rule says, or the classic device, which every peer has.
Encapsulation usable(Encapsulation wanted, const Node& peer) {
  if (wanted == Encapsulation::kVxlanL3 && !receives(peer, wanted) &&
      receives(peer, Encapsulation::kVxlan)) {
    return Encapsulation::kVxlan;
  }
  return wanted;
}

bool hasKey(const Node& peer) {
  return !peer.wireguardKeys.empty() && netlink::PublicKey::parse(peer.wireguardKeys.front());
}

Path tunnelPath(Encapsulation wanted, const Node& peer, Family pods, const Underlay& underlay,
                std::string why) {
  const Encapsulation encapsulation = usable(wanted, peer);
  if (encapsulation == Encapsulation::kWireguard && !hasKey(peer))
    return none(peer.meta.name + " has published no WireGuard key");
  if (encapsulation == Encapsulation::kIpip && pods == Family::kV6)
    return none("ipip carries IPv4 only");  // RFC 2003; Calico has none for IPv6 either
  for (const Family outer : {pods, other(pods)}) {
    const auto endpoint = endpointOf(peer, underlay, outer);
    if (!endpoint) continue;
    if (encapsulation == Encapsulation::kIpip && outer != Family::kV4) continue;
    return {kindOf(encapsulation), *endpoint, underlay.of(outer)->link, std::move(why)};
  }
  return none(peer.meta.name + " has no address that this node can send to");
}

Path nativePath(const Node& peer, Family pods, const Underlay& underlay) {
  const bool known = endpointOf(peer, underlay, pods) || endpointOf(peer, underlay, other(pods));
  if (!known) return none(peer.meta.name + " has no address that this node can send to");
  return {Path::Kind::kNative,
          {},
          {},
          "not on-link, and the tunnel mode is Never: the fabric must route it"};
}

}  // namespace

std::string toText(Path::Kind kind) {
  constexpr const char* kNames[] = {"none",  "native", "direct",   "vxlan-l3",
                                    "vxlan", "ipip",   "wireguard"};
  return kNames[static_cast<std::size_t>(kind)];
}

Path choosePath(const TunnelRule& rule, const Node& peer, Family pods, const Underlay& underlay,
                const Reachability& reach) {
  const bool tunnels =
      rule.encapsulation != Encapsulation::kNone && rule.mode != TunnelMode::kNever;
  if (tunnels && rule.mode == TunnelMode::kAlways)
    return tunnelPath(rule.encapsulation, peer, pods, underlay, "the tunnel mode is Always");
  bool doubtful = false;
  if (auto direct = directPath(peer, pods, underlay, reach, tunnels, doubtful))
    return *std::move(direct);
  if (!tunnels) return nativePath(peer, pods, underlay);
  return tunnelPath(
      rule.encapsulation, peer, pods, underlay,
      doubtful ? "on-link, but the peer does not answer, or a router in its place" : "not on-link");
}

std::uint32_t overheadBytes(Encapsulation encapsulation, Family outer) {
  const std::uint32_t ip = outer == Family::kV4 ? 20 : 40;
  constexpr std::uint32_t kUdp = 8, kVxlan = 8, kEthernet = 14;
  switch (encapsulation) {
    case Encapsulation::kNone:
      return 0;
    case Encapsulation::kVxlanL3:
      return ip + kUdp + kVxlan;
    case Encapsulation::kVxlan:
      return ip + kUdp + kVxlan + kEthernet;
    case Encapsulation::kIpip:
      return ip;
    case Encapsulation::kWireguard:
      return ip + kUdp + 32;  // type, receiver, counter, authentication tag
  }
  return 0;
}

std::uint32_t podMtuBytes(const Underlay& underlay, const std::vector<TunnelRule>& rules) {
  std::uint32_t smallest = 0;
  for (const Family outer : {Family::kV4, Family::kV6}) {
    if (!underlay.of(outer)) continue;
    std::uint32_t overhead = 0;
    for (const TunnelRule& rule : rules) {
      if (rule.mode != TunnelMode::kNever)
        overhead = std::max(overhead, overheadBytes(rule.encapsulation, outer));
    }
    const std::uint32_t mtu = underlay.of(outer)->mtuBytes - overhead;
    if (smallest == 0 || mtu < smallest) smallest = mtu;
  }
  return smallest;
}

}  // namespace culvert::routing
