#include "plugins/shared/settle.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace culvert::plugins {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPatience{100};

}  // namespace

Result<AddressEvents> AddressEvents::subscribed(netlink::Socket socket) {
  TRY(socket.subscribe(RTNLGRP_IPV6_IFADDR));
  return AddressEvents(std::move(socket));
}

Result<AddressEvents> AddressEvents::open() {
  return subscribed(TRY(netlink::Socket::open(NETLINK_ROUTE)));
}

Result<AddressEvents> AddressEvents::openIn(const NetNs& ns) {
  return subscribed(TRY(netlink::Socket::openIn(ns, NETLINK_ROUTE)));
}

void AddressEvents::await(netlink::IfIndex link, const std::vector<IpPrefix>& addresses) {
  std::vector<IpPrefix> missing = addresses;
  std::erase_if(missing, [](const IpPrefix& one) { return one.family() == Family::kV4; });
  const auto deadline = steady_clock::now() + kPatience;
  while (!missing.empty() && steady_clock::now() < deadline) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    const auto events = socket_.receiveEvents(static_cast<int>(left.count()));
    if (!events) return;
    for (const netlink::Reply& event : *events) {
      const auto address = netlink::parseAddress(event);
      if (address && address->link == link) std::erase(missing, address->prefix);
    }
  }
}

Result<void> configureAndSettle(netlink::Rtnl& rtnl, const netlink::InterfaceSetup& setup,
                                AddressEvents events) {
  TRY(rtnl.configure(setup));
  std::vector<IpPrefix> prefixes;
  for (const auto& address : setup.addresses)
    prefixes.push_back(address.prefix);
  events.await(setup.link, prefixes);
  return {};
}

void awaitCarriers(netlink::Rtnl& rtnl, const std::vector<netlink::IfIndex>& links) {
  const auto deadline = steady_clock::now() + kPatience;
  for (const netlink::IfIndex index : links) {
    for (;;) {
      const auto link = rtnl.findLink(index);
      if (!link || link->operState == IF_OPER_UP || steady_clock::now() >= deadline) break;
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
}

}  // namespace culvert::plugins
