#pragma once

#include <chrono>
#include <map>
#include <optional>

#include "daemons/objects/node.h"
#include "netlink/link.h"

namespace culvert::routing {

/// Whether an address to which the kernel's route has no gateway is in the same layer 2 indeed, as
/// the kernel's neighbour entries tell. Pure: who hears of entries notes them here.
///
/// An address is trusted until its neighbour does not answer, or answers with the router's MAC
/// address: many clouds' networks look like one layer 2 and are a router that answers for everybody
/// (proxy ARP), and which knows no pods. From then on it has to be a good neighbour for `kHold`, so
/// that a link that comes and goes does not take the path to the peer along.
class Neighbourhood {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kHold{5};

  /// True if the path to somebody may be another now. Entries that are being resolved or were
  /// removed say nothing.
  bool note(const netlink::NeighbourSpec& neighbour, Time now);
  void setGateways(const objects::PerFamily<std::optional<IpAddress>>& gateways);

  bool trusts(const IpAddress& address, Time now);
  bool knows(const IpAddress& address) const { return entries_.count(address) != 0; }
  /// When an address is trusted again unless something happens before; Time::max(): none is.
  Time next() const;

 private:
  struct Entry {
    bool answers = false;
    std::optional<MacAddress> mac;
    bool operator==(const Entry&) const = default;
  };
  bool isGood(const IpAddress& address) const;

  objects::PerFamily<std::optional<IpAddress>> gateways_;
  std::map<IpAddress, Entry> entries_;
  std::map<IpAddress, std::optional<Time>> suspects_;  // not trusted; since when they are good
};

}  // namespace culvert::routing
