#include "netlink/monitor.h"

#include <array>
#include <cerrno>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

constexpr std::array<unsigned, 8> kGroups{
    RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP,     RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE};

using Visit = std::function<void(const Event&)>;

/// One notification; RTM_NEW… by now, as the parsers want it.
struct Notification {
  Reply reply;
  bool removed = false;
};

/// RTM_NEWx, RTM_DELx, RTM_GETx and RTM_SETx follow each other (uapi/linux/rtnetlink.h).
Notification unify(Reply reply) {
  constexpr std::uint16_t kVerb = 3;
  const bool removed = (reply.type & kVerb) == 1;
  if (removed) --reply.type;
  return {std::move(reply), removed};
}

template <class T>
void tell(const Notification& from, std::optional<T> object, const Visit& visit) {
  if (!object) return;
  if (from.removed) {
    visit({Removed<T>{*std::move(object)}, from.reply.port});
  } else {
    visit({Changed<T>{*std::move(object)}, from.reply.port});
  }
}

/// Bridges announce their ports as links of AF_BRIDGE, without what makes a link.
std::optional<Link> linkIn(const Reply& reply) {
  if (reply.header<ifinfomsg>().ifi_family != AF_UNSPEC) return std::nullopt;
  return parseLink(reply);
}

}  // namespace

void parseEvents(Reply reply, const Visit& visit) {
  const Notification from = unify(std::move(reply));
  switch (from.reply.type) {
    case RTM_NEWLINK:
      return tell(from, linkIn(from.reply), visit);
    case RTM_NEWADDR:
      return tell(from, parseAddress(from.reply), visit);
    case RTM_NEWNEXTHOP:
      return tell(from, parseNexthop(from.reply), visit);
    case RTM_NEWRULE:
      return tell(from, parseRule(from.reply), visit);
    case RTM_NEWROUTE:
      for (const RouteSpec& route : parseRoutes(from.reply))
        tell(from, std::optional(route), visit);
      return;
    case RTM_NEWNEIGH:
      tell(from, parseNeighbour(from.reply), visit);
      return tell(from, parseFdbEntry(from.reply), visit);
    default:
      return;
  }
}

Result<Monitor> Monitor::open(const Options& options) {
  Monitor monitor(TRY(Socket::open(NETLINK_ROUTE)));
  TRY(monitor.subscribe(options));
  return monitor;
}

Result<Monitor> Monitor::openIn(const NetNs& ns, const Options& options) {
  return ns.run([&] { return open(options); });
}

Result<void> Monitor::subscribe(const Options& options) {
  socket_.growReceiveBuffer(options.receiveBytes);
  for (const unsigned group : kGroups)
    TRY(socket_.subscribe(group));
  if (options.neighbours) TRY(socket_.subscribe(RTNLGRP_NEIGH));
  return {};
}

Result<Monitor::Drained> Monitor::drain(const Visit& visit) {
  for (Drained drained = Drained::kComplete;;) {
    auto replies = socket_.receiveWaiting();
    if (!replies) {
      if (replies.error().sysErrno != ENOBUFS) return std::move(replies).error();
      drained = Drained::kOverrun;  // the kernel is silent until the rest has been read
      continue;
    }
    if (!*replies) return drained;
    if (drained == Drained::kOverrun) continue;
    for (Reply& reply : **replies)
      parseEvents(std::move(reply), visit);
  }
}

}  // namespace culvert::netlink
