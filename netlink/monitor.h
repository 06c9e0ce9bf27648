#pragma once

#include <cstdint>
#include <functional>
#include <variant>

#include "base/netns.h"
#include "base/result.h"
#include "netlink/fdb.h"
#include "netlink/link.h"
#include "netlink/nexthop.h"
#include "netlink/socket.h"

// What happens to a namespace's links, addresses, routes, …, whoever does it (rtnetlink(7),
// RTNLGRP_*).
namespace culvert::netlink {

/// The object is there, new or changed: `object` is all of it.
template <class T>
struct Changed {
  T object;
};
/// It is gone: `object` is what it was.
template <class T>
struct Removed {
  T object;
};

/// What the kernel does not say: that it removed IPv4 routes and nexthops because their link went
/// down, lost its carrier or was removed, or because an address went. After such an event of a link
/// or address, ask.
struct Event {
  using What = std::variant<Changed<Link>, Removed<Link>, Changed<Address>, Removed<Address>,
                            Changed<RouteSpec>, Removed<RouteSpec>, Changed<NexthopSpec>,
                            Removed<NexthopSpec>, Changed<RuleSpec>, Removed<RuleSpec>,
                            Changed<NeighbourSpec>, Removed<NeighbourSpec>, Changed<FdbEntry>,
                            Removed<FdbEntry>>;
  What what;
  /// Whose request it was: Socket::port() of the Rtnl that made it. 0: the kernel's own doing.
  std::uint32_t port = 0;
};

/// A notification as events: none if it is about something else, several for a multipath route.
void parseEvents(Reply reply, const std::function<void(const Event&)>& visit);

class Monitor {
 public:
  struct Options {
    bool neighbours = false;                                  // and forwarding entries
    std::size_t receiveBytes = std::size_t{4} * 1024 * 1024;  // as far as it is allowed
  };

  /// Hears everything from now on: first open, then list. Of the calling thread's namespace.
  static Result<Monitor> open(const Options& options);
  static Result<Monitor> openIn(const NetNs& ns, const Options& options);

  /// Becomes readable when something has happened. Owned by this.
  int fd() const noexcept { return socket_.fd(); }

  enum class Drained {
    kComplete,  // everything that happened has been visited
    kOverrun,   // some was lost: list everything anew. What happens from now on is heard again.
  };
  /// Visits what has happened, in order, until nothing is left; never waits.
  Result<Drained> drain(const std::function<void(const Event&)>& visit);

 private:
  explicit Monitor(Socket socket) : socket_(std::move(socket)) {}
  Result<void> subscribe(const Options& options);

  Socket socket_;
};

}  // namespace culvert::netlink
