#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "daemons/objects/bgp_configuration.h"
#include "daemons/objects/bgp_filter.h"
#include "daemons/objects/bgp_peer.h"
#include "daemons/objects/bgp_types.h"

namespace culvert::bgp {

using objects::AsNumber;

/// A route that BIRD holds only to announce it, or (with a gateway) to reach a peer through.
struct StaticRoute {
  IpPrefix prefix;
  std::optional<IpAddress> gateway;  // none: blackhole
  auto operator<=>(const StaticRoute&) const = default;
};

/// What a session may carry besides what filters say.
enum class PeerRole : std::uint8_t {
  kNode,     // of our cluster, iBGP or eBGP: takes and gives cluster and fabric routes
  kExternal  // a router of the fabric: gets our cluster's routes, and none it or its like gave us
};

/// The rules of one BGPFilter for one family and direction.
struct FilterRules {
  std::string name;  // of the BGPFilter
  Family family = Family::kV4;
  bool import = true;
  std::vector<objects::BgpFilterRule> rules;
  bool operator==(const FilterRules&) const = default;
};

/// One `protocol bgp`. Its name is its identity: the same name in two configurations is the same
/// session. Addresses are of one family, which is the only one the session carries.
struct Peer {
  std::string name;  // as symbolName() makes it
  PeerRole role = PeerRole::kNode;
  std::string description;  // for status: "node b", "BGPPeer tor-1"
  // What follows, to the blank line, restarts the session when it changes (bgp_reconfigure() in
  // BIRD's proto/bgp/bgp.c).
  std::optional<IpAddress> neighbor;  // or
  std::optional<IpPrefix> range;      // dynamic: whoever connects from there
  std::string dynamicName;            // prefix of the names of those sessions
  std::uint16_t neighborPort = objects::kBgpPort;
  AsNumber neighborAs = 0;
  std::optional<IpAddress> localAddress;
  std::uint16_t localPort = objects::kBgpPort;
  AsNumber localAs = 0;
  std::optional<IpAddress> routerId;  // IPv4; none: the configuration's
  bool passive = false;
  bool strictBind = false;
  bool direct = false;  // on our link; otherwise multihop
  std::uint8_t ttlSecurity = 0;
  std::string password;
  bool reflectorClient = false;
  std::optional<IpAddress> clusterId;  // IPv4
  std::uint32_t allowLocalAs = 0;
  std::optional<std::chrono::seconds> keepaliveTime;
  objects::GracefulRestart gracefulRestart;

  // What follows changes on a running session.
  objects::NextHopMode nextHop = objects::NextHopMode::kAuto;
  objects::BfdOptions bfd;
  std::optional<objects::PrefixLimit> importLimit;
  std::optional<objects::PrefixLimit> exportLimit;
  std::vector<std::string> filters;  // names of FilterRules, in order
  bool operator==(const Peer&) const = default;

  Family family() const { return range ? range->family() : neighbor->family(); }
  bool external() const { return localAs != neighborAs; }
};

/// A configuration of BIRD, typed. Everything in it is sorted, so that equal means equal text.
struct BirdConfig {
  IpAddress routerId;                          // IPv4
  std::string logLevel;                        // BGPConfiguration's logSeverityScreen
  std::vector<std::string> ignoredInterfaces;  // whose addresses resolve no next hop
  std::uint32_t priorityV4 = objects::kDefaultRoutePriority;  // of routes in the kernel
  std::uint32_t priorityV6 = objects::kDefaultRoutePriority;
  std::vector<IpPrefix> ownBlocks;        // announced, each as one route
  std::vector<IpPrefix> services;         // announced
  std::vector<StaticRoute> gateways;      // reachableBy
  std::vector<IpPrefix> clusterPrefixes;  // pods: never into the kernel, always to the fabric
  std::vector<IpPrefix> servicePrefixes;  // never into the kernel
  std::vector<objects::BgpConfiguration::Advertisement> communities;
  std::vector<FilterRules> filters;
  std::vector<Peer> peers;
  bool operator==(const BirdConfig&) const = default;
};

/// A symbol for BIRD: `kind`_`name` with every other character than letters, digits and _ as _,
/// up to 64 bytes (SYM_MAX_LEN). Where that loses something, a hash of the whole is appended.
std::string symbolName(std::string_view kind, std::string_view name);

/// The text BIRD reads (2.0.12 and later, 3.x): the same configuration is the same text. Whatever
/// could end a string or a statement is an error (kInvalidConfig), not something to escape: BIRD's
/// strings have no escapes. The text holds passwords: keep it private.
Result<std::string> render(const BirdConfig& config);

}  // namespace culvert::bgp
