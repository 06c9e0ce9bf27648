#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "netlink/message.h"

// Plain values of rtnetlink objects (rtnetlink(7), uapi/linux/if_link.h, rtnetlink.h).
namespace culvert::netlink {

/// An interface index, > 0; 0 is "none".
enum class IfIndex : std::uint32_t { kNone = 0 };

/// A VLAN id, 1..4094 (IEEE 802.1Q).
using VlanId = std::uint16_t;

/// What a kind of link adds to every link's attributes (IFLA_INFO_DATA). The numbers are the
/// kernel's (uapi/linux/if_link.h).
struct Macvlan {
  enum class Mode : std::uint32_t { kPrivate = 1, kVepa = 2, kBridge = 4, kPassthru = 8 };
  Mode mode = Mode::kBridge;
  std::uint32_t broadcastQueue = 0;  // IFLA_MACVLAN_BC_QUEUE_LEN, packets; 0: the kernel's 1000
  bool operator==(const Macvlan&) const = default;
};
struct Ipvlan {
  enum class Mode : std::uint16_t { kL2 = 0, kL3 = 1, kL3s = 2 };
  Mode mode = Mode::kL2;
  bool operator==(const Ipvlan&) const = default;
};
struct Vlan {
  VlanId id = 0;  // 0..4094; 0 is a priority tag
  bool operator==(const Vlan&) const = default;
};
struct Dummy {
  bool operator==(const Dummy&) const = default;
};
struct Vrf {
  std::uint32_t table = 0;  // its routes
  bool operator==(const Vrf&) const = default;
};
/// VXLAN (RFC 7348), or with `gpe` its generic protocol extension, which carries IP packets without
/// Ethernet (draft-ietf-nvo3-vxlan-gpe): no MAC, no ARP, no forwarding entries.
struct Vxlan {
  /// IFLA_VXLAN_DF: whether outer IPv4 packets may be fragmented on their way.
  enum class DontFragment : std::uint8_t { kUnset = 0, kSet = 1, kInherit = 2 };
  std::uint32_t vni = 0;           // 0..2^24-1; 0 with `external`
  std::uint16_t port = 4789;       // UDP
  std::optional<IpAddress> local;  // outer source; its family is the tunnel's, IPv4 if absent
  IfIndex underlay = IfIndex::kNone;
  bool learning = false;    // forwarding entries from what arrives
  bool external = false;    // the tunnel stands in the route (TunnelEncap); both outer families
  bool gpe = false;         // only with `external`
  bool gbp = false;         // group policy extension
  std::uint8_t ttl = 0;     // 0: the kernel's default (net.ipv4.ip_default_ttl)
  bool udpChecksum = true;  // over IPv4
  bool zeroChecksum6Tx = false, zeroChecksum6Rx = false;  // over IPv6: none sent, none demanded
  DontFragment df = DontFragment::kUnset;
  bool operator==(const Vxlan&) const = default;
};
/// IPv4 in IPv4 (RFC 2003). What is absent is any: such a tunnel needs `external` or a gateway.
struct Ipip {
  std::optional<IpAddress> local, remote;
  IfIndex underlay = IfIndex::kNone;
  bool external = false;         // the tunnel stands in the route (TunnelEncap)
  std::uint8_t ttl = 0;          // 0: the inner packet's, and pathMtuDiscovery must be on
  bool pathMtuDiscovery = true;  // DF outside
  bool operator==(const Ipip&) const = default;
};
/// IPv4 and IPv6 in IPv6 (RFC 2473), without the encapsulation limit option.
struct Ip6tnl {
  std::optional<IpAddress> local, remote;
  IfIndex underlay = IfIndex::kNone;
  bool external = false;
  std::uint8_t ttl = 64;
  bool operator==(const Ip6tnl&) const = default;
};
/// Configured through netlink/wireguard.h.
struct Wireguard {
  bool operator==(const Wireguard&) const = default;
};
using LinkKind =
    std::variant<std::monostate, Macvlan, Ipvlan, Vlan, Dummy, Vrf, Vxlan, Ipip, Ip6tnl, Wireguard>;

struct Link {
  IfIndex index = IfIndex::kNone;
  std::string name;
  std::string kind;  // IFLA_INFO_KIND: "veth", "bridge", ...; empty for hardware
  LinkKind data;     // of a kind that has any and is known here
  std::optional<MacAddress> mac;
  std::uint32_t mtuBytes = 0;
  IfIndex master = IfIndex::kNone;
  IfIndex peer = IfIndex::kNone;  // IFLA_LINK: a veth's other end, or the link that this one lies
                                  // on; maybe in another namespace
  std::uint32_t flags = 0;        // IFF_UP, IFF_LOOPBACK, ...; IFF_PROMISC only if set by request,
                                  // not while a packet socket (tcpdump) wants it
  std::uint8_t operState = 0;     // IF_OPER_UP (6), ... (RFC 2863)
  std::string alias;              // IFLA_IFALIAS
  bool carrier = false;           // IFLA_CARRIER
  std::uint32_t group = 0;        // IFLA_GROUP
  bool ipv6LinkLocal = true;      // false: IFLA_INET6_ADDR_GEN_MODE is "none"
  std::uint32_t txQueueLength = 0;         // packets
  std::optional<MacAddress> permanentMac;  // IFLA_PERM_ADDRESS: the hardware's own
  std::string parentDevice;                // of hardware: "0000:00:03.0", "virtio1"; Linux 5.14
  bool vlanFiltering = false;              // bridges: IFLA_BR_VLAN_FILTERING
  bool hairpin = false;                    // bridge ports: IFLA_BRPORT_MODE
  bool isolated = false;                   // bridge ports: IFLA_BRPORT_ISOLATED

  bool isUp() const;
};

/// nullopt if `reply` is no RTM_NEWLINK.
std::optional<Link> parseLink(const Reply& reply);

struct Address {
  IfIndex link = IfIndex::kNone;
  IpPrefix prefix;
  std::uint32_t flags = 0;  // IFA_F_*
  std::uint8_t scope = 0;   // RT_SCOPE_*
};
std::optional<Address> parseAddress(const Reply& reply);

/// The outer header that a route or nexthop puts around its packets (lightweight tunnel, `encap ip`
/// and `encap ip6`; uapi/linux/lwtunnel.h), for a link that is `external`.
struct TunnelEncap {
  std::uint64_t id = 0;  // the VNI; unused by ipip
  IpAddress destination;
  std::optional<IpAddress> source;  // absent: by the route to the destination
  std::uint8_t ttl = 0;             // 0: the kernel's default
  std::uint8_t tos = 0;
  bool checksum = false;      // UDP checksum
  bool dontFragment = false;  // DF outside, IPv4
  bool operator==(const TunnelEncap&) const = default;
};

struct RouteSpec {
  IpPrefix dst;
  std::optional<IpAddress> gateway;  // of the other family: RTA_VIA (RFC 8950)
  std::optional<IpAddress> source;   // RTA_PREFSRC
  IfIndex link = IfIndex::kNone;
  std::optional<std::uint32_t> table;     // RT_TABLE_MAIN (254) if absent
  std::optional<std::uint8_t> scope;      // absent: link without a gateway, else universe
  std::optional<std::uint32_t> priority;  // metric
  std::optional<std::uint32_t> mtuBytes, advmssBytes;  // RTAX_MTU, RTAX_ADVMSS
  std::uint8_t protocol = 3;                           // RTPROT_BOOT
  std::uint8_t type = 1;                               // RTN_UNICAST
  bool onLink = false;  // RTNH_F_ONLINK: the gateway is on the link, whatever routes say
  std::optional<TunnelEncap> encap = {};
  /// RTA_NH_ID (netlink/nexthop.h), Linux 5.3. To write: without gateway, link and encap. As read,
  /// those are what the kernel tells of the nexthop (net.ipv4.nexthop_compat_mode).
  std::optional<std::uint32_t> nexthopId = {};
};
/// Multipath routes give one RouteSpec for each next hop, but routes by nexthop id always just one.
std::vector<RouteSpec> parseRoutes(const Reply& reply);
/// Whether `actual`, as it was read, is the route that writing `wanted` makes: what `wanted` leaves
/// out is compared with the kernel's default. Metrics (mtuBytes, advmssBytes) count.
bool isRoute(const RouteSpec& wanted, const RouteSpec& actual);
/// Whether a route that findRoute() gave leads to a neighbour on its link: no gateway, no tunnel.
bool isOnLink(const RouteSpec& route);

struct RuleSpec {
  Family family = Family::kV4;
  std::optional<IpPrefix> source, destination;
  std::optional<std::uint32_t> mark, markMask;
  std::string inLink;
  std::uint32_t table = 254;
  std::optional<std::uint32_t> priority;
  std::uint8_t protocol = 0;  // FRA_PROTOCOL, RTPROT_*: who made it
};
std::optional<RuleSpec> parseRule(const Reply& reply);

struct NeighbourSpec {
  IfIndex link = IfIndex::kNone;
  IpAddress address;
  std::optional<MacAddress> mac;
  std::uint16_t state = 0x80;  // NUD_*; NUD_PERMANENT
  std::uint8_t protocol = 0;   // NDA_PROTOCOL, RTPROT_*: who made it; Linux 5.0
  bool operator==(const NeighbourSpec&) const = default;
};
std::optional<NeighbourSpec> parseNeighbour(const Reply& reply);

/// VLANs of a bridge port or of the bridge itself.
struct PortVlan {
  VlanId first = 0, last = 0;  // a range, inclusive
  bool pvid = false;           // untagged ingress belongs here
  bool untagged = false;       // leaves without a tag
  bool operator==(const PortVlan&) const = default;
};
/// The VLANs in an AF_BRIDGE RTM_NEWLINK, ranges joined as the kernel sent them.
std::vector<PortVlan> parsePortVlans(const Reply& reply);

}  // namespace culvert::netlink
