#pragma once

#include <vector>

#include "base/netns.h"
#include "netlink/rtnl.h"

/// The kernel finishes links and IPv6 addresses in the background. Until then it drops what is to
/// be sent by the link, and does not hear who asks for the address: a container that asks at once
/// would try again after a second. These wait for that, for 100 ms at most; what is not ready by
/// then (a bridge whose spanning tree takes its time) is no error.
namespace culvert::plugins {

/// Hears of IPv6 addresses that are about to be added without duplicate detection: the kernel tells
/// of them when it has joined their solicited-node group (addrconf_dad_completed()).
class AddressEvents {
 public:
  static Result<AddressEvents> open();
  static Result<AddressEvents> openIn(const NetNs& ns);

  /// Waits for the IPv6 addresses among these.
  void await(netlink::IfIndex link, const std::vector<IpPrefix>& addresses);

 private:
  explicit AddressEvents(netlink::Socket socket) : socket_(std::move(socket)) {}
  static Result<AddressEvents> subscribed(netlink::Socket socket);
  netlink::Socket socket_;
};

/// Configures the interface, and waits for its IPv6 addresses.
Result<void> configureAndSettle(netlink::Rtnl& rtnl, const netlink::InterfaceSetup& setup,
                                AddressEvents events);

/// Waits until each of these links sends, in this order: a bridge's carrier comes from its port's.
/// Since Linux 6.8 asking for a link makes the kernel take note of its carrier.
void awaitCarriers(netlink::Rtnl& rtnl, const std::vector<netlink::IfIndex>& links);

}  // namespace culvert::plugins
