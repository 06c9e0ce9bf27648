#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/netns.h"
#include "base/result.h"
#include "netlink/link.h"
#include "netlink/socket.h"

namespace culvert::netlink {

struct BridgeSpec {
  std::string name;
  MacAddress mac;              // always given: a bridge without one takes its lowest port's
  std::uint32_t mtuBytes = 0;  // 0: the kernel's default
  bool vlanFiltering = false;
  std::string alias;  // IFLA_IFALIAS, at most 255 bytes
};

struct IfbSpec {
  std::string name;
  std::uint32_t mtuBytes = 0;  // 0: the kernel's default
  std::string alias;           // IFLA_IFALIAS, at most 255 bytes
};

struct VethSpec {
  std::string name;  // the end in this socket's namespace
  MacAddress mac;
  std::string alias;
  bool up = true;        // whether that end is created up; its link-local address comes with it
  std::string peerName;  // the other end, created down
  MacAddress peerMac;
  const NetNs* peerNs = nullptr;           // where the other end is created; null: here
  std::uint32_t mtuBytes = 0;              // of both; 0: the kernel's default
  IfIndex master = IfIndex::kNone;         // of the near end
  bool hairpin = false, isolated = false;  // bridge port flags of the near end
};

struct Veth {
  Link near;
  IfIndex peer = IfIndex::kNone;  // in the peer's namespace
};

/// A link that stands alone or lies on another one: macvlan, ipvlan, vlan, dummy.
/// In this namespace (`ns` null), what follows mtuBytes appears together with the link, even if we
/// are killed; elsewhere it is refused (kUnsupportedField).
struct LinkSpec {
  std::string name;
  LinkKind kind;
  IfIndex lower = IfIndex::kNone;  // what it lies on, in this socket's namespace
  const NetNs* ns = nullptr;       // where it is created; null: here
  std::optional<MacAddress> mac;   // absent: the kernel's choice
  std::uint32_t mtuBytes = 0;      // 0: the lower link's, or the kernel's default
  std::string alias = {};          // IFLA_IFALIAS, at most 255 bytes
  bool ipv6LinkLocal = true;       // off: no link-local address (addr_gen_mode none)
  bool up = false;
};

/// What one RTM_SETLINK changes; what is absent stays. The kernel takes them in this order, stops
/// at the first that it refuses, and does not undo those before.
struct LinkChange {
  const NetNs* ns = nullptr;  // where the link goes: it is down there, without addresses
  std::optional<MacAddress> mac;
  std::optional<std::uint32_t> mtuBytes;
  std::string name;                  // the link must be down
  std::optional<std::string> alias;  // empty: removed
  std::optional<bool> up, promiscuous, allMulticast;
  std::optional<std::uint32_t> txQueueLength;
  std::optional<bool> ipv6LinkLocal;  // whether it gets a link-local address when it comes up
};

/// What an interface is given, in the order in which it is done.
struct InterfaceSetup {
  IfIndex link = IfIndex::kNone;
  bool arpNotify = false;  // gratuitous ARP when the link comes up (IPV4_DEVCONF_ARP_NOTIFY)
  struct NewAddress {
    IpPrefix prefix;
    bool duplicateDetection =
        false;                   // IPv6: off sets IFA_F_NODAD, and the address is usable at once
    bool connectedRoute = true;  // off: IFA_F_NOPREFIXROUTE
  };
  std::vector<NewAddress> addresses;
  bool up = true;
  std::vector<RouteSpec> routes;  // an identical route that is there already is success
};

/// Which routes to list; the kernel selects. What is 0 or none does not matter.
struct RouteFilter {
  Family family = Family::kV4;
  std::uint32_t table = 0;
  std::uint8_t protocol = 0;  // RTPROT_*: who made it
  IfIndex link = IfIndex::kNone;
};

/// A packet whose route is sought.
struct RouteQuery {
  IpAddress destination;
  IfIndex link = IfIndex::kNone;  // it leaves through this one
  std::optional<IpAddress> source = {};
  std::optional<std::uint32_t> mark = {};
};

/// Rtnetlink in one network namespace. Every method is one system call and its answers, or one
/// dump; errors name the object. `create…` fails with kAlreadyExists, `remove…` with kNotFound.
class Rtnl {
 public:
  static Result<Rtnl> open();
  static Result<Rtnl> openIn(const NetNs& ns);

  Result<Link> findLink(const std::string& name);
  Result<Link> findLink(IfIndex index);
  Result<std::vector<Link>> listLinks();
  /// The ports of a bridge or the members of a VRF.
  Result<std::vector<Link>> listMembers(IfIndex master);

  /// Created down.
  Result<Link> createBridge(const BridgeSpec& spec);
  /// Created up.
  Result<Link> createIfb(const IfbSpec& spec);
  /// One batch: the pair, its alias and port flags appear together even if we are killed.
  Result<Veth> createVeth(const VethSpec& spec);
  /// Created down, directly in its namespace; nothing of it is ever seen in this one. But kernels
  /// before 6.15 look for a link of that name in this namespace instead of the new one's, and then
  /// say kAlreadyExists.
  Result<void> createLink(const LinkSpec& spec);
  /// Whether the kernel has, or can load, a kind of link. Nothing is created.
  Result<bool> knowsLinkKind(const LinkKind& kind);
  Result<void> removeLink(IfIndex index);
  /// Removes all of them in one operation of the kernel, which then waits only once (a link group
  /// is deleted as a whole). Links that are gone meanwhile do not matter.
  Result<void> removeLinks(const std::vector<IfIndex>& links);
  /// As removeLink(), but returns once the link is gone from every namespace and its name is free,
  /// without the 15 to 30 ms the kernel then still waits for RCU readers: a detached child sits
  /// that out, with nothing open but its netlink socket. Two links in one process: call it twice.
  Result<void> removeLinkDetached(IfIndex index);

  Result<void> changeLink(IfIndex link, const LinkChange& change);
  Result<void> setUp(IfIndex link);
  Result<void> setDown(IfIndex link);
  Result<void> setPromiscuous(IfIndex link, bool on);
  Result<void> setMtu(IfIndex link, std::uint32_t mtuBytes);
  Result<void> setMac(IfIndex link, const MacAddress& mac);
  Result<void> setMaster(IfIndex link, IfIndex master);
  Result<void> setVlanFiltering(IfIndex bridge, bool on);

  Result<void> configure(const InterfaceSetup& setup);

  Result<std::vector<Address>> listAddresses(IfIndex link);
  /// kAlreadyExists if the link has the address.
  Result<void> addAddress(IfIndex link, const InterfaceSetup::NewAddress& address);
  Result<void> removeAddress(IfIndex link, const IpPrefix& address);

  /// All routes of the family in every table, or in `table` only.
  Result<std::vector<RouteSpec>> listRoutes(Family family, std::uint32_t table = 0);
  Result<std::vector<RouteSpec>> listRoutes(const RouteFilter& filter);
  /// The route that a packet of this host's to `destination` would take; kIo (ENETUNREACH) if none.
  /// Its gateway is absent if the destination is on the link (isOnLink()); `source` is the address
  /// that would be chosen, `type` RTN_LOCAL for own addresses, RTN_UNREACHABLE, ….
  Result<RouteSpec> findRoute(const IpAddress& destination);
  Result<RouteSpec> findRoute(const RouteQuery& query);
  Result<void> addRoute(const RouteSpec& route);  // an identical one is success
  Result<void> replaceRoute(const RouteSpec& route);
  Result<void> removeRoute(const RouteSpec& route);

  Result<std::vector<RuleSpec>> listRules(Family family);
  Result<void> createRule(const RuleSpec& rule);
  Result<void> removeRule(const RuleSpec& rule);

  Result<std::vector<NeighbourSpec>> listNeighbours(Family family, IfIndex link);
  Result<void> ensureNeighbour(const NeighbourSpec& neighbour);
  Result<void> removeNeighbour(const NeighbourSpec& neighbour);
  /// Has the kernel find out whether somebody answers there (NTF_USE), as the first packet would.
  Result<void> askNeighbour(IfIndex link, const IpAddress& address);

  /// Of a bridge port, or with `self` of the bridge device itself.
  Result<std::vector<PortVlan>> listPortVlans(IfIndex port);
  Result<void> addPortVlans(IfIndex port, const std::vector<PortVlan>& vlans, bool self = false);
  Result<void> removePortVlans(IfIndex port, const std::vector<PortVlan>& vlans, bool self = false);

  Socket& socket() { return socket_; }

 private:
  explicit Rtnl(Socket socket) : socket_(std::move(socket)) {}
  Result<Link> getLink(IfIndex index, const std::string& name);
  Result<void> changeFlags(IfIndex link, std::uint32_t flags, std::uint32_t mask);
  template <class T>
  Result<std::vector<T>> list(Batch& batch, std::optional<T> (*parse)(const Reply&));

  Socket socket_;
};

}  // namespace culvert::netlink
