#pragma once

#include <cstdint>
#include <optional>
#include <string>
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

struct Link {
  IfIndex index = IfIndex::kNone;
  std::string name;
  std::string kind;  // IFLA_INFO_KIND: "veth", "bridge", ...; empty for hardware
  std::optional<MacAddress> mac;
  std::uint32_t mtuBytes = 0;
  IfIndex master = IfIndex::kNone;
  IfIndex peer = IfIndex::kNone;  // IFLA_LINK: a veth's other end, maybe in another namespace
  std::uint32_t flags = 0;        // IFF_UP, IFF_LOOPBACK, ...; IFF_PROMISC only if set by request,
                                  // not while a packet socket (tcpdump) wants it
  std::uint8_t operState = 0;     // IF_OPER_UP (6), ... (RFC 2863)
  std::string alias;              // IFLA_IFALIAS
  bool vlanFiltering = false;     // bridges: IFLA_BR_VLAN_FILTERING
  bool hairpin = false;           // bridge ports: IFLA_BRPORT_MODE
  bool isolated = false;          // bridge ports: IFLA_BRPORT_ISOLATED

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

struct RouteSpec {
  IpPrefix dst;
  std::optional<IpAddress> gateway;
  std::optional<IpAddress> source;  // RTA_PREFSRC
  IfIndex link = IfIndex::kNone;
  std::optional<std::uint32_t> table;     // RT_TABLE_MAIN (254) if absent
  std::optional<std::uint8_t> scope;      // absent: link without a gateway, else universe
  std::optional<std::uint32_t> priority;  // metric
  std::optional<std::uint32_t> mtuBytes, advmssBytes;  // RTAX_MTU, RTAX_ADVMSS
  std::uint8_t protocol = 3;                           // RTPROT_BOOT
  std::uint8_t type = 1;                               // RTN_UNICAST
};
/// Multipath routes give one RouteSpec for each next hop.
std::vector<RouteSpec> parseRoutes(const Reply& reply);

struct RuleSpec {
  Family family = Family::kV4;
  std::optional<IpPrefix> source, destination;
  std::optional<std::uint32_t> mark, markMask;
  std::string inLink;
  std::uint32_t table = 254;
  std::optional<std::uint32_t> priority;
};
std::optional<RuleSpec> parseRule(const Reply& reply);

struct NeighbourSpec {
  IfIndex link = IfIndex::kNone;
  IpAddress address;
  std::optional<MacAddress> mac;
  std::uint16_t state = 0x80;  // NUD_PERMANENT
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
