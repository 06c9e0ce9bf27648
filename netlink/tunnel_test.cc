#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "netlink/changes.h"
#include "netlink/offload.h"
#include "netlink/test_nodes.h"

namespace culvert::netlink {
namespace {

using testnet::addr;
using testnet::mac;
using testnet::Node;
using testnet::prefix;
using testnet::TwoNodes;

constexpr std::uint8_t kOurs = 0xC5;
constexpr Vxlan kLayer3{.port = 4790, .external = true, .gpe = true, .zeroChecksum6Rx = true};

class Tunnels : public TwoNodes {
 protected:
  /// Skips the test where the kernel has no such link.
  bool lacks(const LinkKind& kind) { return !left_.rtnl->knowsLinkKind(kind).value_or(true); }

  static void create(const Node& node, const LinkSpec& spec) {
    const auto made = node.rtnl->createLink(spec);
    ASSERT_TRUE(made) << made.error().message;
    const auto link = node.rtnl->findLink(spec.name);
    ASSERT_TRUE(link);
    EXPECT_TRUE(link->data == spec.kind) << "what is read back is what was asked for";
  }

  /// A nexthop with the tunnel in it, and a route to the other pod by it.
  static void routeThrough(const Node& here, const Node& there, const std::string& link,
                           Family inner, Family outer, bool checksum = false) {
    const std::uint32_t id = inner == Family::kV4 ? 4 : 6;
    const NexthopSpec nexthop{
        .id = id,
        .family = inner,
        .link = index(here, link),
        .encap = TunnelEncap{.id = 77, .destination = there.underlay(outer), .checksum = checksum},
        .protocol = kOurs};
    ASSERT_TRUE(Nexthops(*here.rtnl).create(nexthop));
    EXPECT_EQ(*Nexthops(*here.rtnl).find(id), nexthop);
    RouteSpec route{.dst = IpPrefix::host(there.pod(inner)), .protocol = kOurs};
    route.source = here.pod(inner);
    route.nexthopId = id;
    const auto added = here.rtnl->addRoute(route);
    ASSERT_TRUE(added) << added.error().message;
    const auto listed = here.rtnl->listRoutes({.family = inner, .protocol = kOurs});
    ASSERT_EQ(listed->size(), 1U);
    EXPECT_TRUE(isRoute(route, listed->front()));
  }
};

TEST_F(Tunnels, VxlanGpeWithTheTunnelInTheNexthopCarriesBothFamiliesOverBoth) {
  for (const Family outer : {Family::kV4, Family::kV6}) {
    for (const Node* node : {&left_, &right_}) {
      create(
          *node,
          {.name = "vxl3", .kind = kLayer3, .alias = "ours", .ipv6LinkLocal = false, .up = true});
      const Node& other = node == &left_ ? right_ : left_;
      for (const Family inner : {Family::kV4, Family::kV6})
        routeThrough(*node, other, "vxl3", inner, outer);
    }
    EXPECT_TRUE(reaches(left_, right_, Family::kV4));
    EXPECT_TRUE(reaches(left_, right_, Family::kV6));
    for (const Node* node : {&left_, &right_})
      ASSERT_TRUE(node->rtnl->removeLink(index(*node, "vxl3")));
  }
}

TEST_F(Tunnels, OverIpv6TheTunnelSendsChecksumsIfTheRouteSaysSo) {
  Vxlan strict = kLayer3;
  strict.zeroChecksum6Rx = false;
  for (const Node* node : {&left_, &right_}) {
    create(*node, {.name = "vxl3", .kind = strict, .up = true});
    routeThrough(*node, node == &left_ ? right_ : left_, "vxl3", Family::kV4, Family::kV6, true);
  }
  EXPECT_TRUE(reaches(left_, right_, Family::kV4));
}

TEST_F(Tunnels, ClassicVxlanWorksWithANeighbourAndAForwardingEntry) {
  const std::array<const Node*, 2> nodes{&left_, &right_};
  const auto macOf = [&](const Node* node) {
    return mac(node == &left_ ? "02:00:00:00:00:01" : "02:00:00:00:00:02");
  };
  for (const Node* node : nodes) {
    const Vxlan kind{.vni = 1, .port = 8472, .local = node->underlay4, .underlay = node->eth0};
    create(*node, {.name = "flannel.1",
                   .kind = kind,
                   .mac = macOf(node),
                   .mtuBytes = 1450,
                   .ipv6LinkLocal = false,
                   .up = true});
    const Node* other = node == &left_ ? &right_ : &left_;
    const IfIndex link = index(*node, "flannel.1");
    RouteSpec route{.dst = IpPrefix::host(other->pod4), .protocol = kOurs};
    route.gateway = other->pod4;
    route.source = node->pod4;
    route.link = link;
    route.onLink = true;
    std::vector<Change> changes{
        {.object = route},
        {.object = FdbEntry{.link = link, .mac = macOf(other), .remote = other->underlay4}},
        {.object = NeighbourSpec{
             .link = link, .address = other->pod4, .mac = macOf(other), .protocol = kOurs}}};
    sortForApplying(changes);
    const auto failures = applyChanges(*node->rtnl, changes);
    ASSERT_TRUE(failures) << failures.error().message;
    ASSERT_TRUE(failures->empty()) << failures->front().error.message;
    EXPECT_EQ(node->rtnl->listNeighbours(Family::kV4, link)->front(),
              std::get<NeighbourSpec>(changes[0].object));
    EXPECT_EQ(ForwardingDatabase(*node->rtnl).list(link)->front(),
              std::get<FdbEntry>(changes[1].object));
    EXPECT_TRUE(isRoute(route, node->rtnl->listRoutes({.protocol = kOurs})->front()));
  }
  EXPECT_TRUE(reaches(left_, right_, Family::kV4));
}

TEST_F(Tunnels, EverySettingOfAVxlanDeviceIsReadBackAsWritten) {
  const Node& node = left_;
  for (const Vxlan& kind :
       {Vxlan{.vni = 4096,
       .port = 4789,
       .local = node.underlay6,
       .underlay = node.eth0,
       .learning = true,
       .gbp = true,
       .ttl = 64,
       .udpChecksum = false,
       .zeroChecksum6Tx = true,
       .zeroChecksum6Rx = true,
       .df = Vxlan::DontFragment::kInherit},
        Vxlan{.vni = 1, .df = Vxlan::DontFragment::kSet}, Vxlan{.external = true}}) {
    create(node, {.name = "vx", .kind = kind});
    ASSERT_TRUE(node.rtnl->removeLink(index(node, "vx")));
  }
}

TEST_F(Tunnels, ADeviceIsBornWithItsAliasAndWithoutALinkLocalAddress) {
  create(
      left_,
      {.name = "vx", .kind = Vxlan{.vni = 9}, .alias = "ours", .ipv6LinkLocal = false, .up = true});
  const auto link = left_.rtnl->findLink("vx");
  EXPECT_EQ(link->alias, "ours");
  EXPECT_FALSE(link->ipv6LinkLocal);
  EXPECT_TRUE(link->isUp() && link->carrier);
  EXPECT_TRUE(left_.rtnl->listAddresses(link->index)->empty());
  EXPECT_TRUE(left_.rtnl->findLink("eth0")->ipv6LinkLocal);
  ASSERT_TRUE(left_.rtnl->changeLink(left_.eth0, {.ipv6LinkLocal = false}));
  EXPECT_FALSE(left_.rtnl->findLink("eth0")->ipv6LinkLocal);
}

TEST_F(Tunnels, WhatCannotBeFinishedIsNotLeftHalfMade) {
  const auto made = left_.rtnl->createLink(
      {.name = "vx", .kind = Vxlan{.vni = 9}, .alias = std::string(300, 'x')});
  ASSERT_FALSE(made);
  EXPECT_FALSE(left_.rtnl->findLink("vx"));
}

TEST_F(Tunnels, IpipCarriesARouteWithItsGateway) {
  if (lacks(Ipip{})) GTEST_SKIP() << "this kernel has no ipip";
  for (const Node* node : {&left_, &right_}) {
    const Node& other = node == &left_ ? right_ : left_;
    create(*node, {.name = "cv.ipip",
                   .kind = Ipip{.local = node->underlay4, .ttl = 64},
                   .mtuBytes = 1480,
                   .up = true});
    RouteSpec route{.dst = IpPrefix::host(other.pod4)};
    route.gateway = other.underlay4;
    route.source = node->pod4;
    route.link = index(*node, "cv.ipip");
    route.onLink = true;
    const auto added = node->rtnl->addRoute(route);
    ASSERT_TRUE(added) << added.error().message;
  }
  EXPECT_TRUE(reaches(left_, right_, Family::kV4));
}

TEST_F(Tunnels, ExternalIpipAndIp6tnlCarryTheTunnelInTheNexthop) {
  if (lacks(Ipip{}) || lacks(Ip6tnl{})) GTEST_SKIP() << "this kernel has no ipip or ip6tnl";
  for (const Node* node : {&left_, &right_}) {
    const Node& other = node == &left_ ? right_ : left_;
    create(*node, {.name = "x4", .kind = Ipip{.external = true, .ttl = 64}, .up = true});
    create(*node, {.name = "x6", .kind = Ip6tnl{.external = true}, .up = true});
    routeThrough(*node, other, "x4", Family::kV4, Family::kV4);
    routeThrough(*node, other, "x6", Family::kV6, Family::kV6);
  }
  EXPECT_TRUE(reaches(left_, right_, Family::kV4));
  EXPECT_TRUE(reaches(left_, right_, Family::kV6));
}

TEST_F(Tunnels, ReplacingANexthopFromTunnelToDirectAndBackLosesNoPacket) {
  constexpr int kDatagrams = 2000;
  constexpr int kBetweenReplacements = 20;
  for (const Node* node : {&left_, &right_}) {
    create(*node, {.name = "vxl3", .kind = kLayer3, .up = true});
    routeThrough(*node, node == &left_ ? right_ : left_, "vxl3", Family::kV4, Family::kV4);
  }
  Nexthops nexthops(*left_.rtnl);
  const NexthopSpec tunnel = *nexthops.find(4);
  const NexthopSpec direct{
      .id = 4, .gateway = right_.underlay4, .link = left_.eth0, .protocol = kOurs};
  const testnet::Udp client(*left_.ns, left_.pod4, 4000);
  const testnet::Udp server(*right_.ns, right_.pod4, 5000);
  int arrived = 0;
  for (int i = 0; i < kDatagrams; ++i) {
    if (i % kBetweenReplacements == 0) {
      ASSERT_TRUE(nexthops.replace(i / kBetweenReplacements % 2 == 0 ? direct : tunnel));
    }
    client.send(right_.pod4, 5000);
    if (i % kBetweenReplacements != 1) continue;
    for (; arrived <= i && server.receive(); ++arrived) {
    }
  }
  for (; arrived < kDatagrams && server.receive(); ++arrived) {
  }
  EXPECT_EQ(arrived, kDatagrams);
}

TEST_F(Tunnels, RoutesMayCarryTheirTunnelThemselves) {
  for (const Node* node : {&left_, &right_}) {
    const Node& other = node == &left_ ? right_ : left_;
    create(*node, {.name = "vxl3", .kind = kLayer3, .up = true});
    RouteSpec route{.dst = IpPrefix::host(other.pod4), .source = node->pod4};
    route.link = index(*node, "vxl3");
    route.encap = TunnelEncap{.id = 5,
                              .destination = other.underlay4,
                              .source = node->underlay4,
                              .ttl = 9,
                              .tos = 8,
                              .checksum = true,
                              .dontFragment = true};
    const auto added = node->rtnl->replaceRoute(route);
    ASSERT_TRUE(added) << added.error().message;
    EXPECT_TRUE(isRoute(route, node->rtnl->listRoutes({.link = route.link})->front()));
  }
  EXPECT_TRUE(reaches(left_, right_, Family::kV4));
}

TEST_F(Tunnels, ChecksumsAreTakenFromTheDevice) {
  create(left_, {.name = "vx", .kind = Vxlan{.vni = 9}});
  Offload offload = *Offload::openIn(*left_.ns);
  EXPECT_TRUE(*offload.txChecksum("vx"));
  ASSERT_TRUE(offload.ensureTxChecksum("vx", false));
  EXPECT_FALSE(*offload.txChecksum("vx"));
  ASSERT_TRUE(offload.ensureTxChecksum("vx", false));
  EXPECT_EQ(offload.txChecksum("none").error().code, Errc::kNotFound);
  EXPECT_EQ(offload.txChecksum(std::string(99, 'x')).error().code, Errc::kNotFound);
}

TEST_F(Tunnels, AMacMovesToAnotherRemoteAndOnlyTheNamedRemoteIsRemoved) {
  create(left_, {.name = "vx", .kind = Vxlan{.vni = 9}});
  ForwardingDatabase fdb(*left_.rtnl);
  FdbEntry entry{
      .link = index(left_, "vx"), .mac = mac("02:00:00:00:00:09"), .remote = addr("198.18.0.2")};
  const FdbEntry before = entry;
  ASSERT_TRUE(fdb.ensure(entry));
  entry.remote = addr("198.18.0.3");
  ASSERT_TRUE(fdb.ensure(entry));
  EXPECT_EQ(*fdb.list(entry.link), std::vector<FdbEntry>{entry});
  EXPECT_TRUE(fdb.remove(before));
  EXPECT_EQ(fdb.list(entry.link)->size(), 1U) << "it has moved";
  ASSERT_TRUE(fdb.remove(entry));
  const auto again = fdb.remove(entry);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kNotFound);
  EXPECT_TRUE(fdb.list(entry.link)->empty());
}

TEST_F(Tunnels, AskingForAKindMakesNone) {
  for (const LinkKind& kind : {LinkKind(Vxlan{.vni = 1}), LinkKind(kLayer3), LinkKind(Ipip{}),
                               LinkKind(Ip6tnl{}), LinkKind(Wireguard{})}) {
    lacks(kind);  // loads its module, which may bring a device along
    const std::size_t before = left_.rtnl->listLinks()->size();
    lacks(kind);
    EXPECT_EQ(left_.rtnl->listLinks()->size(), before) << "kind " << kind.index();
  }
  EXPECT_FALSE(lacks(kLayer3));
}

TEST_F(Tunnels, ARuleSaysWhoMadeIt) {
  const RuleSpec rule{.mark = 0x20, .inLink = {}, .table = 100, .protocol = kOurs};
  ASSERT_TRUE(left_.rtnl->createRule(rule));
  const auto rules = left_.rtnl->listRules(Family::kV4);
  EXPECT_EQ(std::count_if(rules->begin(), rules->end(),
                          [](const RuleSpec& one) { return one.protocol == kOurs; }),
            1);
  EXPECT_TRUE(left_.rtnl->removeRule(rule));
}

TEST_F(Tunnels, ARouteIsAskedForByLinkAndMarkAndSaysWhetherItIsOnTheLink) {
  const IpPrefix far4 = prefix("10.9.0.0/16");
  RouteSpec far{.dst = far4, .gateway = right_.underlay4};
  far.link = left_.eth0;
  ASSERT_TRUE(left_.rtnl->addRoute(far));
  for (const IpAddress& neighbour : {right_.underlay4, right_.underlay6}) {
    const auto route = left_.rtnl->findRoute({.destination = neighbour});
    ASSERT_TRUE(route) << route.error().message;
    EXPECT_TRUE(isOnLink(*route));
    EXPECT_EQ(route->link, left_.eth0);
    EXPECT_EQ(route->source, left_.underlay(neighbour.family()));
  }
  EXPECT_FALSE(isOnLink(*left_.rtnl->findRoute({.destination = addr("10.9.1.1")})));
  EXPECT_EQ(left_.rtnl->findRoute(left_.pod4)->type, RTN_LOCAL);
  // An IPv6 address gets its local route from a work queue, a moment after it is there.
  for (int i = 0; i < 1000 && isOnLink(*left_.rtnl->findRoute(left_.pod6)); ++i)
    ::usleep(10'000);
  EXPECT_EQ(left_.rtnl->findRoute(left_.pod6)->type, RTN_LOCAL);
  EXPECT_EQ(left_.rtnl->findRoute(addr("203.0.113.1")).error().sysErrno, ENETUNREACH);
  EXPECT_FALSE(left_.rtnl->findRoute(addr("2001:db8:1::1")));

  RouteSpec marked{.dst = far4, .gateway = addr("198.18.0.77")};
  marked.link = left_.eth0;
  marked.table = 100;
  ASSERT_TRUE(left_.rtnl->addRoute(marked));
  ASSERT_TRUE(left_.rtnl->createRule({.mark = 0x20, .inLink = {}, .table = 100}));
  const auto route =
      left_.rtnl->findRoute({.destination = addr("10.9.1.1"), .link = left_.eth0, .mark = 0x20});
  ASSERT_TRUE(route) << route.error().message;
  EXPECT_EQ(route->gateway, marked.gateway);
}

TEST_F(Tunnels, AnIpv4RouteMayHaveAnIpv6Gateway) {
  RouteSpec route{.dst = IpPrefix::host(right_.pod4), .gateway = right_.underlay6};
  route.link = left_.eth0;
  const auto added = left_.rtnl->addRoute(route);
  ASSERT_TRUE(added) << added.error().message;
  EXPECT_EQ(left_.rtnl->findRoute(right_.pod4)->gateway, right_.underlay6);
}

}  // namespace
}  // namespace culvert::netlink
