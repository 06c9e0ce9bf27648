#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "netlink/link.h"
#include "netlink/rtnl.h"

// Nexthop objects (uapi/linux/nexthop.h, ip-nexthop(8)), Linux 5.3: routes refer to them by id, and
// replacing one moves all its routes at once without losing a packet.
namespace culvert::netlink {

/// A nexthop of a group, which must be there already.
struct NexthopMember {
  std::uint32_t id = 0;
  std::uint16_t weight = 1;  // 1..256
  bool operator==(const NexthopMember&) const = default;
};

/// One of: `blackhole`; a `group`; else `link`, with `gateway` or without.
///
/// The kernel removes a nexthop, and every route by it, together with its link, and when the link
/// goes down or loses its carrier. It says nothing of that to a Monitor but the link's own event.
struct NexthopSpec {
  std::uint32_t id = 0;         // > 0, unique in the namespace
  Family family = Family::kV4;  // of the routes that may use it, unless the gateway is IPv6: then
                                // both may. Groups have none.
  std::optional<IpAddress> gateway;
  IfIndex link = IfIndex::kNone;
  bool onLink = false;  // the gateway is on the link, whatever routes say
  bool blackhole = false;
  std::optional<TunnelEncap> encap = {};
  std::vector<NexthopMember> group = {};  // at least one; hash-threshold multipath
  std::uint8_t protocol = 0;              // RTPROT_*: who made it
  bool operator==(const NexthopSpec&) const = default;
};

/// nullopt if `reply` is no RTM_NEWNEXTHOP, or one that a NexthopSpec cannot express (of a bridge's
/// forwarding entries, a resilient group).
std::optional<NexthopSpec> parseNexthop(const Reply& reply);

/// `nexthop 7 via 198.18.0.2 encap id 1 dst 198.18.0.3`
std::string describe(const NexthopSpec& nexthop);

class Nexthops {
 public:
  /// `rtnl` outlives this.
  explicit Nexthops(Rtnl& rtnl) : socket_(rtnl.socket()) {}

  /// Those that `protocol` made (0: all), by ascending id. One complete dump: the kernel does not
  /// select by protocol.
  Result<std::vector<NexthopSpec>> list(std::uint8_t protocol = 0);
  Result<NexthopSpec> find(std::uint32_t id);
  Result<void> create(const NexthopSpec& nexthop);
  /// Creates it if it is not there. A group stays a group and a single nexthop single (kIo).
  Result<void> replace(const NexthopSpec& nexthop);
  /// Removes the routes by it, too.
  Result<void> remove(std::uint32_t id);

 private:
  Result<void> write(std::uint16_t flags, const NexthopSpec& nexthop);
  Socket& socket_;
};

}  // namespace culvert::netlink
