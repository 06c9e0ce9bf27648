#include "netlink/monitor.h"

#include <linux/rtnetlink.h>
#include <poll.h>

#include <algorithm>

#include "netlink/changes.h"
#include "netlink/test_nodes.h"

namespace culvert::netlink {
namespace {

using testnet::addr;
using testnet::prefix;

class Monitoring : public testnet::TwoNodes {
 protected:
  void SetUp() override {
    TwoNodes::SetUp();
    open({.neighbours = true});
  }
  void open(const Monitor::Options& options) {
    auto opened = Monitor::openIn(*left_.ns, options);
    ASSERT_TRUE(opened) << opened.error().message;
    monitor_ = std::make_unique<Monitor>(*std::move(opened));
  }
  std::vector<Event> drain() {
    std::vector<Event> events;
    const auto drained = monitor_->drain([&](const Event& event) { events.push_back(event); });
    EXPECT_TRUE(drained && *drained == Monitor::Drained::kComplete);
    return events;
  }
  /// The objects of the events of one kind.
  template <class T>
  static auto only(const std::vector<Event>& events) {
    std::vector<decltype(T::object)> found;
    for (const Event& event : events) {
      if (const auto* one = std::get_if<T>(&event.what)) found.push_back(one->object);
    }
    return found;
  }
  template <class T, class Is>
  static bool has(const std::vector<Event>& events, Is is) {
    const auto found = only<T>(events);
    return std::any_of(found.begin(), found.end(), is);
  }
  RouteSpec route() const {
    RouteSpec spec{.dst = prefix("10.3.0.0/16"), .gateway = right_.underlay4};
    spec.link = left_.eth0;
    return spec;
  }
  std::unique_ptr<Monitor> monitor_;
};

TEST_F(Monitoring, NothingHappenedIsCompleteAtOnce) {
  drain();
  EXPECT_TRUE(drain().empty());
}

TEST_F(Monitoring, WhatAForeignHandRemovesIsHeardWithAllItWas) {
  ASSERT_TRUE(left_.rtnl->addRoute(route()));
  ASSERT_TRUE(Nexthops(*left_.rtnl).create({.id = 7, .link = left_.eth0}));
  drain();
  testnet::runIn(*left_.ns, "ip route del 10.3.0.0/16; ip nexthop del id 7");
  const auto events = drain();
  const auto routes = only<Removed<RouteSpec>>(events);
  ASSERT_EQ(routes.size(), 1U);
  EXPECT_TRUE(isRoute(route(), routes.front()));
  ASSERT_EQ(only<Removed<NexthopSpec>>(events).size(), 1U);
  EXPECT_EQ(only<Removed<NexthopSpec>>(events).front().id, 7U);
}

TEST_F(Monitoring, LinksAddressesRulesNeighboursAndForwardingEntriesAreHeard) {
  drain();
  testnet::runIn(
      *left_.ns,
      "ip link add vx type vxlan id 5 dstport 4789; ip addr add 10.8.0.1/24 dev eth0;"
      "ip rule add fwmark 9 table 77; ip neigh add 10.8.0.2 lladdr 02:00:00:00:00:02 dev eth0;"
      "bridge fdb add 02:00:00:00:00:03 dev vx dst 198.18.0.9; ip link del vx");
  const auto events = drain();
  EXPECT_TRUE(has<Changed<Link>>(events, [](const Link& link) {
    const auto* vxlan = std::get_if<Vxlan>(&link.data);
    return vxlan != nullptr && vxlan->vni == 5;
  }));
  const auto gone = only<Removed<Link>>(events);
  ASSERT_FALSE(gone.empty());
  EXPECT_EQ(gone.back().name, "vx");
  EXPECT_TRUE(has<Changed<Address>>(
      events, [](const auto& one) { return one.prefix == prefix("10.8.0.1/24"); }));
  EXPECT_EQ(only<Changed<RuleSpec>>(events).front().table, 77U);
  EXPECT_TRUE(has<Changed<NeighbourSpec>>(
      events, [](const auto& one) { return one.address == addr("10.8.0.2"); }));
  ASSERT_FALSE(only<Changed<FdbEntry>>(events).empty());
  EXPECT_EQ(only<Changed<FdbEntry>>(events).front().remote, addr("198.18.0.9"));
}

TEST_F(Monitoring, OwnChangesAreKnownByTheirPort) {
  drain();
  ASSERT_TRUE(left_.rtnl->addRoute(route()));
  testnet::runIn(*left_.ns, "ip route add 10.4.0.0/16 via 198.18.0.2");
  std::vector<std::uint32_t> ports;  // who changed IPv4 routes
  for (const Event& event : drain()) {
    const auto* changed = std::get_if<Changed<RouteSpec>>(&event.what);
    if (changed != nullptr && changed->object.dst.family() == Family::kV4)
      ports.push_back(event.port);
  }
  ASSERT_EQ(ports.size(), 2U);
  EXPECT_NE(ports[0], 0U);
  EXPECT_EQ(ports[0], left_.rtnl->socket().port());
  EXPECT_NE(ports[1], ports[0]);
}

TEST_F(Monitoring, ALinkThatGoesDownTakesItsNexthopsAndRoutesAlongAndOnlyTheLinkIsHeard) {
  ASSERT_TRUE(
      Nexthops(*left_.rtnl).create({.id = 7, .gateway = right_.underlay4, .link = left_.eth0}));
  RouteSpec byId{.dst = prefix("10.3.0.0/16")};
  byId.nexthopId = 7;
  ASSERT_TRUE(left_.rtnl->addRoute(byId));
  drain();
  ASSERT_TRUE(right_.rtnl->setDown(right_.eth0));  // the carrier goes
  std::vector<Event> events;
  const auto lost = [&] {
    return has<Changed<Link>>(events, [](const Link& link) { return !link.carrier; });
  };
  for (pollfd ready{monitor_->fd(), POLLIN, 0}; !lost() && ::poll(&ready, 1, 10000) == 1;) {
    for (Event& event : drain())
      events.push_back(std::move(event));
  }
  EXPECT_TRUE(lost());
  EXPECT_TRUE(only<Removed<NexthopSpec>>(events).empty());
  EXPECT_FALSE(has<Removed<RouteSpec>>(
      events, [](const auto& one) { return one.dst == prefix("10.3.0.0/16"); }));
  EXPECT_TRUE(Nexthops(*left_.rtnl).list()->empty());
}

TEST_F(Monitoring, AnOverrunIsToldOnceAndThenItHearsAgain) {
  open({.receiveBytes = 8192});
  std::vector<Change> changes;
  for (int i = 0; i < 200; ++i) {
    RouteSpec one = route();
    one.dst = prefix("10." + std::to_string(i) + ".77.0/24");
    changes.push_back({.object = one});
  }
  ASSERT_TRUE(applyChanges(*left_.rtnl, changes)->empty());
  const auto drained = monitor_->drain([](const Event&) {});
  ASSERT_TRUE(drained) << drained.error().message;
  EXPECT_EQ(*drained, Monitor::Drained::kOverrun);
  ASSERT_TRUE(left_.rtnl->addRoute(route()));
  EXPECT_EQ(only<Changed<RouteSpec>>(drain()).size(), 1U);
}

}  // namespace
}  // namespace culvert::netlink
