#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "netlink/rtnl.h"

// Traffic control of one link (tc(8), uapi/linux/pkt_sched.h, pkt_cls.h): a rate for what leaves
// it, and the detour by which what arrives on it gets one.
namespace culvert::netlink {

/// A token bucket as the kernel counts it.
struct Shape {
  std::uint64_t rateBytes = 0;   // per second, link-layer headers included
  std::uint32_t burstTicks = 0;  // how long the burst takes at that rate, in units of 64 ns
  std::uint32_t limitBytes = 0;  // what may wait; more is dropped
  bool operator==(const Shape&) const = default;

  /// Of a rate and a burst in bits (rate at least 8 bit/s). `latency` is how long a packet may
  /// wait. The burst is raised to `packetBytes`: a bucket that is smaller than a packet would let
  /// none through.
  static Shape of(std::uint64_t rateBits, std::uint64_t burstBits,
                  std::chrono::milliseconds latency, std::uint32_t packetBytes);
};

/// Which packets are meant.
struct Subnets {
  enum class Meaning { kAll, kOnlyThese, kAllButThese } meaning = Meaning::kAll;
  std::vector<IpPrefix> list;  // at most 1000
};

class TrafficControl {
 public:
  /// `rtnl` is a connection to the namespace of the links, and outlives this.
  explicit TrafficControl(Rtnl& rtnl) : socket_(rtnl.socket()) {}

  /// Shapes what leaves `link`, or of that what comes from the subnets: a root qdisc 1: of its own,
  /// tbf, or htb where subnets have to be told apart. kAlreadyExists if somebody has put a root
  /// qdisc there.
  Result<void> createShaper(IfIndex link, const Shape& shape, const Subnets& from = {});
  /// What createShaper() made; kNotFound if there is none.
  Result<Shape> findShaper(IfIndex link);
  /// Nothing to remove, or somebody else's root qdisc: success.
  Result<void> removeShaper(IfIndex link);

  /// Sends what arrives on `link`, or of that what goes to the subnets, out of `ifb` instead, from
  /// where it returns to its way. A clsact qdisc that is there already is shared.
  Result<void> createRedirect(IfIndex link, IfIndex ifb, const Subnets& to = {});
  /// Whether anything that arrives on `link` is sent to `ifb`.
  Result<bool> hasRedirect(IfIndex link, IfIndex ifb);
  /// The filters of createRedirect(), and the ingress qdisc unless it is shared.
  Result<void> removeRedirect(IfIndex link);

 private:
  Result<std::string> ingressKind(IfIndex link);
  Socket& socket_;
};

}  // namespace culvert::netlink
