#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/ip.h"
#include "daemons/objects/ip_pool.h"
#include "daemons/objects/node.h"
#include "netlink/link.h"

/// How packets get to another node: decided here, from values alone.
namespace culvert::routing {

using objects::PerFamily;

/// This node's address in the fabric and the interface that has it, by family.
struct UnderlayAddress {
  IpPrefix address;  // with the prefix length of its subnet
  netlink::IfIndex link = netlink::IfIndex::kNone;
  std::string linkName;
  std::uint32_t mtuBytes = 0;
  bool operator==(const UnderlayAddress&) const = default;
};
using Underlay = PerFamily<std::optional<UnderlayAddress>>;

/// What the kernel would do with a packet to a peer's endpoint now (RTM_GETROUTE).
struct Reach {
  bool onLink = false;  // it has no gateway: the peer should be in the same layer 2
  bool answers = true;  // as a neighbour (Neighbourhood), as far as is known
  netlink::IfIndex link = netlink::IfIndex::kNone;
  bool operator==(const Reach&) const = default;
};
using Reachability = std::function<Reach(const IpAddress& endpoint)>;

/// What applies to a network of pods: its pool's, or the configuration's.
struct TunnelRule {
  objects::Encapsulation encapsulation = objects::Encapsulation::kNone;
  objects::TunnelMode mode = objects::TunnelMode::kNever;
  auto operator<=>(const TunnelRule&) const = default;
};

/// One way to one peer for the pods of one family.
struct Path {
  enum class Kind : std::uint8_t {
    kNone,     // there is none: `why` says so
    kNative,   // the fabric routes it; nothing of ours
    kDirect,   // through the peer as gateway
    kVxlanL3,  // the tunnel stands in the next hop
    kVxlan,    // through the peer's VTEP
    kIpip,
    kWireguard,
  };
  Kind kind = Kind::kNone;
  IpAddress endpoint;                               // of the peer; unless kNone, kNative
  netlink::IfIndex link = netlink::IfIndex::kNone;  // kDirect: the underlay's
  std::string why;                                  // one sentence for `culvertctl routes`
  bool operator==(const Path&) const = default;

  bool isTunnel() const { return kind >= Kind::kVxlanL3; }
};

/// "direct", "native", "vxlan-l3", ...
std::string toText(Path::Kind kind);

Path choosePath(const TunnelRule& rule, const objects::Node& peer, Family pods,
                const Underlay& underlay, const Reachability& reach);

/// Bytes that a tunnel adds to each packet, outer IP header included.
std::uint32_t overheadBytes(objects::Encapsulation encapsulation, Family outer);

/// The largest packet of a pod that passes every tunnel in use, in bytes: the underlay's MTU less
/// the largest overhead. 0 if there is no underlay yet.
std::uint32_t podMtuBytes(const Underlay& underlay, const std::vector<TunnelRule>& rules);

}  // namespace culvert::routing
