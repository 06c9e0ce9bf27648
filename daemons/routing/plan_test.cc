#include "daemons/routing/plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace culvert::routing {
namespace {

using netlink::Change;
using netlink::IfIndex;
using objects::Encapsulation;
using objects::Node;
using objects::TunnelMode;

IpPrefix net(const char* text) {
  return *IpPrefix::parse(text);
}

Surroundings here(Encapsulation encapsulation, TunnelMode mode) {
  Surroundings result;
  result.thisNode = "a";
  result.settings.encapsulation = encapsulation;
  result.settings.mode = mode;
  result.underlay.v4 = UnderlayAddress{net("198.18.0.1/24"), IfIndex{2}, "eth0", 1500};
  result.devices = {IfIndex{7}, {IfIndex{8}, IfIndex{9}}, IfIndex{10}, {IfIndex{11}, IfIndex{12}}};
  result.hostAddress.v4 = IpAddress::parse("10.1.0.0");
  result.reach = [](const IpAddress& endpoint) {
    return Reach{net("198.18.0.0/24").contains(endpoint), true, IfIndex{2}};
  };
  return result;
}

Node peer(const char* endpoint) {
  Node node;
  node.meta.name = "b";
  node.endpoint.v4 = IpAddress::parse(endpoint);
  return node;
}

std::string describeAll(const std::vector<Change>& changes) {
  std::string all;
  for (const Change& change : changes)
    all += describe(change) + "\n";
  return all;
}

TEST(Plan, ATunnelStandsInTheNextHop) {
  NexthopIds ids;
  const auto plan = planPeer(here(Encapsulation::kVxlanL3, TunnelMode::kAlways), peer("198.18.1.2"),
                             {net("10.1.1.0/24"), net("fd02::/64")}, ids);
  ASSERT_EQ(plan.fib.nexthops.size(), 2u) << "one for each family";
  for (const auto& [id, nexthop] : plan.fib.nexthops) {
    EXPECT_EQ(nexthop.link, IfIndex{7});
    ASSERT_TRUE(nexthop.encap);
    EXPECT_EQ(nexthop.encap->id, 1u);
    EXPECT_EQ(nexthop.encap->destination.text(), "198.18.1.2");
    EXPECT_EQ(nexthop.encap->source->text(), "198.18.0.1");
    EXPECT_EQ(nexthop.protocol, kProtocol);
  }
  const auto& route = plan.fib.routes.at({net("10.1.1.0/24"), 0});
  EXPECT_EQ(route.source->text(), "10.1.0.0");
  EXPECT_EQ(plan.fib.nexthops.at(*route.nexthopId).family, Family::kV4);
  EXPECT_TRUE(plan.fib.neighbours.empty() && plan.fib.fdb.empty()) << "no state but the next hop";
}

TEST(Plan, SeveralNetworksShareANextHop) {
  NexthopIds ids;
  const auto plan = planPeer(here(Encapsulation::kVxlanL3, TunnelMode::kCrossSubnet),
                             peer("198.18.0.2"), {net("10.1.1.0/24"), net("10.1.9.0/24")}, ids);
  EXPECT_EQ(plan.fib.nexthops.size(), 1u);
  EXPECT_EQ(plan.fib.routes.size(), 2u);
  EXPECT_EQ(plan.fib.nexthops.begin()->second.gateway->text(), "198.18.0.2");
}

TEST(Plan, ClassicVxlanHasAGatewayANeighbourAndAForwardingEntry) {
  NexthopIds ids;
  const auto plan = planPeer(here(Encapsulation::kVxlan, TunnelMode::kAlways), peer("198.18.1.2"),
                             {net("10.1.1.0/24")}, ids);
  const auto& nexthop = plan.fib.nexthops.begin()->second;
  EXPECT_EQ(nexthop.gateway->text(), "10.1.1.0");
  EXPECT_TRUE(nexthop.onLink);
  const auto& neighbour = plan.fib.neighbours.begin()->second;
  const auto& entry = plan.fib.fdb.begin()->second;
  EXPECT_EQ(neighbour.address.text(), "10.1.1.0");
  EXPECT_EQ(neighbour.mac, entry.mac);
  EXPECT_EQ(entry.mac, vtepMac("b", Family::kV4));
  EXPECT_EQ(entry.remote.text(), "198.18.1.2");
}

TEST(Plan, ClassicVxlanOfIpv6HasALinkLocalGateway) {
  NexthopIds ids;
  Node node = peer("198.18.1.2");
  node.vtep.v4 = objects::Vtep{*MacAddress::parse("66:00:00:00:00:01"), 1};
  const auto plan =
      planPeer(here(Encapsulation::kVxlan, TunnelMode::kAlways), node, {net("fd01::/64")}, ids);
  EXPECT_EQ(plan.fib.nexthops.begin()->second.gateway->text(), "fe80::6400:ff:fe00:1");
  EXPECT_EQ(plan.fib.neighbours.begin()->second.address.text(), "fe80::6400:ff:fe00:1");
}

TEST(Plan, WhatAPeerPublishesAsItsVtepCounts) {
  NexthopIds ids;
  Node flannel = peer("198.18.1.2");
  flannel.vtep.v4 = objects::Vtep{*MacAddress::parse("66:00:00:00:00:01"), 1};
  const auto plan = planPeer(here(Encapsulation::kVxlan, TunnelMode::kAlways), flannel,
                             {net("10.1.1.0/24")}, ids);
  EXPECT_EQ(plan.fib.fdb.begin()->second.mac.text(), "66:00:00:00:00:01");
}

TEST(Plan, AnotherPathReplacesTheSameNextHop) {
  NexthopIds ids;
  const auto surroundings = here(Encapsulation::kVxlanL3, TunnelMode::kCrossSubnet);
  const auto tunnel = planPeer(surroundings, peer("198.18.1.2"), {net("10.1.1.0/24")}, ids);
  const auto direct = planPeer(surroundings, peer("198.18.0.2"), {net("10.1.1.0/24")}, ids);
  const auto changes = diff(tunnel.fib, direct.fib);
  ASSERT_EQ(changes.size(), 1u) << describeAll(changes);
  EXPECT_EQ(changes[0].how, Change::How::kReplace);
  EXPECT_TRUE(std::holds_alternative<netlink::NexthopSpec>(changes[0].object));
}

TEST(Plan, WireguardHasOneKeyForAllNetworks) {
  NexthopIds ids;
  Node b = peer("198.18.1.2");
  b.wireguardKeys = {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="};
  b.wireguardPort = 51821;
  const auto plan = planPeer(here(Encapsulation::kWireguard, TunnelMode::kAlways), b,
                             {net("10.1.1.0/24"), net("fd02::/64")}, ids);
  ASSERT_EQ(plan.wireguard[0].size(), 1u);
  EXPECT_TRUE(plan.wireguard[1].empty()) << "it has published no second one";
  const auto& wireguard = plan.wireguard[0].begin()->second;
  EXPECT_EQ(wireguard.endpoint.address.text(), "198.18.1.2");
  EXPECT_EQ(wireguard.endpoint.port, 51821);
  EXPECT_EQ(wireguard.allowedIps, (std::vector<IpPrefix>{net("10.1.1.0/24"), net("fd02::/64")}));
  EXPECT_EQ(plan.fib.nexthops.begin()->second.link, IfIndex{11});
  b.wireguardKeys = {"no key"};
  EXPECT_TRUE(
      planPeer(here(Encapsulation::kWireguard, TunnelMode::kAlways), b, {net("10.1.1.0/24")}, ids)
          .fib.routes.empty());
}

TEST(Plan, BothOfAPeersKeysAreReceivedByAndOneIsSentBy) {
  NexthopIds ids;
  Surroundings surroundings = here(Encapsulation::kWireguard, TunnelMode::kAlways);
  Node b = peer("198.18.1.2");
  b.wireguardKeys = {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=",
                     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI="};
  const auto before = planPeer(surroundings, b, {net("10.1.1.0/24")}, ids);
  surroundings.wireguardSlot = 1;
  const auto after = planPeer(surroundings, b, {net("10.1.1.0/24")}, ids);
  EXPECT_EQ(before.wireguard, after.wireguard);
  for (std::size_t slot = 0; slot < kKeySlots; ++slot) {
    ASSERT_EQ(after.wireguard[slot].size(), 1u);
    EXPECT_EQ(after.wireguard[slot].begin()->second.endpoint.port, 51820 + slot);
    EXPECT_EQ(after.wireguard[slot].begin()->second.allowedIps.size(), 1u);
  }
  const auto changes = diff(before.fib, after.fib);
  ASSERT_EQ(changes.size(), 1u) << describeAll(changes);
  EXPECT_EQ(std::get<netlink::NexthopSpec>(changes[0].object).link, IfIndex{12});
  surroundings.wireguardWarmingUp = true;
  const auto warm = planPeer(surroundings, b, {net("10.1.1.0/24")}, ids);
  EXPECT_NE(warm.wireguard[0].begin()->second.keepalive.count(), 0) << "its turn is next";
  EXPECT_EQ(warm.wireguard[1].begin()->second.keepalive.count(), 0);
  surroundings.thisNode = "c";
  const auto other = planPeer(surroundings, b, {net("10.1.1.0/24")}, ids);
  EXPECT_EQ(other.wireguard[0].begin()->second.keepalive.count(), 0) << "only one of a pair";
}

TEST(Plan, NativeAndMissingPathsHaveNoRoute) {
  NexthopIds ids;
  const auto plan = planPeer(here(Encapsulation::kNone, TunnelMode::kNever), peer("198.18.1.2"),
                             {net("10.1.1.0/24")}, ids);
  EXPECT_TRUE(plan.fib.routes.empty() && plan.fib.nexthops.empty());
  ASSERT_EQ(plan.uses.size(), 1u);
  EXPECT_EQ(plan.uses[0].path.kind, Path::Kind::kNative);
}

TEST(Plan, ThePoolThatContainsANetworkSaysHow) {
  NexthopIds ids;
  auto surroundings = here(Encapsulation::kVxlanL3, TunnelMode::kAlways);
  objects::IpPool wide, narrow;
  wide.cidr = net("10.0.0.0/8");
  narrow.cidr = net("10.1.0.0/16");
  narrow.encapsulation = Encapsulation::kVxlan;
  narrow.mode = TunnelMode::kAlways;
  surroundings.pools = {narrow, wide};
  EXPECT_EQ(ruleFor(surroundings, net("10.1.1.0/24")).encapsulation, Encapsulation::kVxlan);
  EXPECT_EQ(ruleFor(surroundings, net("10.2.1.0/24")).mode, TunnelMode::kNever);
  EXPECT_EQ(ruleFor(surroundings, net("11.0.0.0/24")).encapsulation, Encapsulation::kVxlanL3);
  const auto plan =
      planPeer(surroundings, peer("198.18.1.2"), {net("10.1.1.0/24"), net("11.0.0.0/24")}, ids);
  EXPECT_EQ(plan.fib.nexthops.size(), 2u) << "one for each rule";
}

TEST(Plan, NextHopIdsAreTheSameInEachLife) {
  NexthopIds one, two;
  two.of("something else first");
  EXPECT_EQ(one.of("b 4 vxlan-l3 Always"), two.of("b 4 vxlan-l3 Always"));
  EXPECT_NE(one.of("b 4 vxlan-l3 Always"), one.of("b 6 vxlan-l3 Always"));
}

TEST(Plan, RoutesComeLastAndGoFirst) {
  NexthopIds ids;
  const auto plan = planPeer(here(Encapsulation::kVxlan, TunnelMode::kAlways), peer("198.18.1.2"),
                             {net("10.1.1.0/24")}, ids);
  const auto coming = diff({}, plan.fib), going = diff(plan.fib, {});
  ASSERT_EQ(coming.size(), 4u);
  ASSERT_EQ(going.size(), 4u);
  EXPECT_TRUE(std::holds_alternative<netlink::RouteSpec>(coming.back().object))
      << describeAll(coming);
  EXPECT_TRUE(std::holds_alternative<netlink::NexthopSpec>(coming.front().object));
  EXPECT_TRUE(std::holds_alternative<netlink::RouteSpec>(going.front().object))
      << describeAll(going);
  EXPECT_TRUE(std::holds_alternative<netlink::NexthopSpec>(going.back().object));
  EXPECT_TRUE(diff(plan.fib, plan.fib).empty());
}

TEST(Plan, OwnNetworksEndHereIfNoPodHasTheAddress) {
  const Fib fib = planOwn({net("10.1.0.0/24")});
  const auto& route = fib.routes.begin()->second;
  EXPECT_EQ(route.type, 6) << "RTN_BLACKHOLE";
  EXPECT_GT(*route.priority, 1024u) << "whatever else is there comes first";
}

}  // namespace
}  // namespace culvert::routing
