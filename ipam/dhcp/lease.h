#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "cni/types.h"
#include "ipam/dhcp/message4.h"
#include "ipam/dhcp/message6.h"

// What a server granted, and for how long.
namespace culvert::ipam::dhcp {

/// A moment: time since boot, sleep included (CLOCK_BOOTTIME), which no change of the clock moves.
using Instant = std::chrono::milliseconds;
using Duration = std::chrono::milliseconds;
inline constexpr Instant kNever = Instant::max();

/// 32 random bits; tests give their own.
using Random = std::function<std::uint32_t()>;

/// RFC 2131 section 4.4.5, RFC 8415 section 14.2: renew at T1 with the server that granted the
/// lease, rebind at T2 with any. kNever in all of them: for ever.
struct Schedule {
  Instant renewAt = kNever, rebindAt = kNever, expiresAt = kNever;
  bool operator==(const Schedule&) const = default;
};

/// Seconds as they stand in messages; 0xffffffff is for ever. T1 or T2 that are absent (0) or out
/// of order become 1/2 and 7/8 of the lease.
Schedule scheduleOf(std::uint32_t renewSeconds, std::uint32_t rebindSeconds,
                    std::uint32_t leaseSeconds, Instant from);

/// Leases shorter than this are refused: renewing them would be a packet storm.
inline constexpr std::uint32_t kMinLeaseSeconds = 4;

struct Lease4 {
  IpPrefix address;
  std::optional<IpAddress> gateway;
  std::vector<cni::Route> routes;
  cni::Dns dns;
  std::optional<std::uint32_t> mtuBytes;
  IpAddress server;                     // server identifier
  std::optional<MacAddress> serverMac;  // of the frame that granted it: the server's or its relay's
  Schedule schedule;
  bool operator==(const Lease4&) const = default;
};

/// What an OFFER or ACK grants. kDecode names what is missing or wrong; options that are merely
/// useless (a malformed domain name) are left out.
Result<Lease4> readLease4(const Message4& message, Instant now);

struct Lease6 {
  IpPrefix address;  // /128: DHCPv6 knows no prefix length; on-link prefixes come from routers
  cni::Dns dns;
  std::string serverId;  // DUID
  Schedule schedule;
  bool operator==(const Lease6&) const = default;
};

/// What an ADVERTISE or REPLY grants for the IA_NA `iaid`.
Result<Lease6> readLease6(const Message6& message, std::uint32_t iaid, Instant now);

struct Leases {
  std::optional<Lease4> v4;
  std::optional<Lease6> v6;
  bool operator==(const Leases&) const = default;
};

/// The result of ADD. `priority` (0: none) and option 26, the MTU, go to the routes.
cni::AddResult toResult(const Leases& leases, std::uint32_t priority);

}  // namespace culvert::ipam::dhcp
