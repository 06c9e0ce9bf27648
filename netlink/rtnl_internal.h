#pragma once

#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <string>
#include <vector>

#include "netlink/fdb.h"
#include "netlink/nexthop.h"
#include "netlink/rtnl.h"

// Shared by the rtnl_*.cc files only.
namespace culvert::netlink {

inline std::uint32_t raw(IfIndex index) {
  return static_cast<std::uint32_t>(index);
}
inline int asInt(IfIndex index) {
  return static_cast<int>(raw(index));
}

/// A batch whose messages know what they do, so that an error can say it.
struct Work {
  Batch batch;
  std::vector<std::string> doing;
  std::vector<bool> mayExist;  // EEXIST is success for this message

  template <class Header>
  void begin(std::string what, std::uint16_t type, std::uint16_t flags, const Header& header,
             bool existsIsFine = false) {
    batch.begin(type, flags, header);
    doing.push_back(std::move(what));
    mayExist.push_back(existsIsFine);
  }
};

/// Executes the work; the first failure (with what it was doing), or every message's answer.
Result<std::vector<Answer>> run(Socket& socket, Work& work);
Result<void> runAll(Socket& socket, Work& work);

void addLinkChange(Work& work, std::string what, IfIndex link, std::uint32_t flags,
                   std::uint32_t mask);
/// IFLA_INFO_KIND and IFLA_INFO_DATA.
const char* kindName(const LinkKind& kind);
/// IFLA_AF_SPEC: whether the link gets an IPv6 link-local address.
void putLinkLocal(Batch& batch, bool on);
LinkKind parseLinkKind(const std::string& name, const Attributes& data);

void addAddressRequest(Work& work, std::uint16_t type, std::uint16_t flags, IfIndex link,
                       const InterfaceSetup::NewAddress& address);
void addRouteRequest(Work& work, std::uint16_t type, std::uint16_t flags, const RouteSpec& route);
void putRoute(Batch& batch, std::uint16_t type, std::uint16_t flags, const RouteSpec& route);
std::string describe(const RouteSpec& route);
void putNeighbour(Batch& batch, std::uint16_t type, std::uint16_t flags,
                  const NeighbourSpec& neighbour);
void putNexthop(Batch& batch, std::uint16_t flags, const NexthopSpec& nexthop);
void putNexthopRemoval(Batch& batch, std::uint32_t id);
void putFdbEntry(Batch& batch, std::uint16_t type, std::uint16_t flags, const FdbEntry& entry);

/// RTA_ENCAP_TYPE and RTA_ENCAP, or NHA_*.
void putEncap(Batch& batch, std::uint16_t typeAttribute, std::uint16_t attribute,
              const TunnelEncap& encap);
/// Absent if it is no `encap ip` or `encap ip6`.
std::optional<TunnelEncap> parseEncap(const std::optional<std::uint16_t>& type,
                                      const Attributes& attributes);

}  // namespace culvert::netlink
