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
  /// One batch: the pair, its alias and port flags appear together even if we are killed.
  Result<Veth> createVeth(const VethSpec& spec);
  Result<void> removeLink(IfIndex index);
  /// Removes all of them in one operation of the kernel, which then waits only once (a link group
  /// is deleted as a whole). Links that are gone meanwhile do not matter.
  Result<void> removeLinks(const std::vector<IfIndex>& links);
  /// As removeLink(), but returns once the link is gone from every namespace and its name is free,
  /// without the 15 to 30 ms the kernel then still waits for RCU readers: a detached child sits
  /// that out, with nothing open but its netlink socket. Two links in one process: call it twice.
  /// The child holds copies of the descriptors in `held` until it ends.
  Result<void> removeLinkDetached(IfIndex index, const std::vector<int>& held = {});

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
  Result<void> addRoute(const RouteSpec& route);  // an identical one is success
  Result<void> replaceRoute(const RouteSpec& route);
  Result<void> removeRoute(const RouteSpec& route);

  Result<std::vector<RuleSpec>> listRules(Family family);
  Result<void> createRule(const RuleSpec& rule);
  Result<void> removeRule(const RuleSpec& rule);

  Result<std::vector<NeighbourSpec>> listNeighbours(Family family, IfIndex link);
  Result<void> ensureNeighbour(const NeighbourSpec& neighbour);
  Result<void> removeNeighbour(const NeighbourSpec& neighbour);

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
