#include "netlink/rtnl.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>

#include <algorithm>

#include "netlink/sysctl.h"
#include "netlink/tap.h"

namespace culvert::netlink {
namespace {

/// A "host" namespace that the test runs in, and a "container" beside it.
class RtnlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
    container_ = std::make_unique<NetNs>(*NetNs::current());
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    host_ = std::make_unique<Rtnl>(*Rtnl::open());
    inside_ = std::make_unique<Rtnl>(*Rtnl::openIn(*container_));
  }

  VethSpec spec(const std::string& name) const {
    return {.name = name,
            .mac = MacAddress::random(),
            .alias = "alias of " + name,
            .peerName = "eth0",
            .peerMac = MacAddress::random(),
            .peerNs = container_.get(),
            .mtuBytes = 1400};
  }
  Link createBridge() {
    return *host_->createBridge({.name = "br0", .mac = MacAddress::random(), .alias = "ours"});
  }

  std::unique_ptr<NetNs> container_;
  std::unique_ptr<Rtnl> host_, inside_;
};

TEST_F(RtnlTest, AVethComesWithAliasMasterFlagsAndBothMacs) {
  const Link bridge = createBridge();
  VethSpec wanted = spec("v0");
  wanted.master = bridge.index;
  wanted.hairpin = wanted.isolated = true;
  const auto veth = host_->createVeth(wanted);
  ASSERT_TRUE(veth) << veth.error().message;
  EXPECT_EQ(veth->near.mac, wanted.mac);
  EXPECT_EQ(veth->near.alias, "alias of v0");
  EXPECT_EQ(veth->near.master, bridge.index);
  EXPECT_EQ(veth->near.mtuBytes, 1400U);
  EXPECT_TRUE(veth->near.hairpin && veth->near.isolated && veth->near.isUp());
  const auto peer = inside_->findLink("eth0");
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->index, veth->peer);
  EXPECT_EQ(peer->mac, wanted.peerMac);
  EXPECT_EQ(peer->kind, "veth");
  EXPECT_FALSE(peer->isUp());
}

TEST_F(RtnlTest, CreatingATakenNameFailsAndLeavesTheFirst) {
  ASSERT_TRUE(host_->createVeth(spec("v0")));
  VethSpec again = spec("v0");
  again.peerName = "eth1";
  const auto second = host_->createVeth(again);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kAlreadyExists);
  EXPECT_TRUE(host_->findLink("v0"));
  EXPECT_TRUE(inside_->findLink("eth0"));
}

TEST_F(RtnlTest, ErrorsNameTheObjectAndCarryTheKernelsWords) {
  const auto veth = host_->createVeth(spec("v0"));
  ASSERT_TRUE(veth);
  RouteSpec unreachable;
  unreachable.dst = *IpPrefix::parse("10.9.0.0/16");
  unreachable.gateway = IpAddress::parse("10.8.0.1");
  unreachable.link = veth->near.index;
  const auto outcome = host_->addRoute(unreachable);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().sysErrno, ENETUNREACH);
  EXPECT_EQ(outcome.error().message,
            "add route 10.9.0.0/16 via 10.8.0.1: netlink: Network is unreachable (Nexthop has "
            "invalid gateway)");
  EXPECT_EQ(outcome.error().details, "Nexthop has invalid gateway");
}

TEST_F(RtnlTest, ADetachedRemovalIsCompleteWhenItReturns) {
  const auto veth = host_->createVeth(spec("v0"));
  ASSERT_TRUE(veth);
  const auto outcome = host_->removeLinkDetached(veth->near.index);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(host_->findLink("v0").error().code, Errc::kNotFound);
  EXPECT_EQ(inside_->findLink("eth0").error().code, Errc::kNotFound);
  EXPECT_TRUE(host_->createVeth(spec("v0"))) << "the names are free at once";
}

TEST_F(RtnlTest, ASubscriberHearsOfALinkThatGoes) {
  Socket events = *Socket::open(NETLINK_ROUTE);
  ASSERT_TRUE(events.subscribe(RTNLGRP_LINK));
  ASSERT_TRUE(host_->removeLink(createBridge().index));
  bool heard = false;
  for (auto next = events.receiveEvents(0); next && !heard; next = events.receiveEvents(0)) {
    heard = std::any_of(next->begin(), next->end(),
                        [](const Reply& r) { return r.type == RTM_DELLINK; });
  }
  EXPECT_TRUE(heard);
}

TEST_F(RtnlTest, ADetachedRemovalReportsTheKernelsRefusal) {
  const auto gone = host_->removeLinkDetached(static_cast<IfIndex>(4711));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::kNotFound);
  const auto refused = host_->removeLinkDetached(host_->findLink("lo")->index);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sysErrno, EOPNOTSUPP);
}

TEST_F(RtnlTest, SeveralLinksAreRemovedAtOnce) {
  std::vector<IfIndex> links;
  for (const char* name : {"v0", "v1", "v2"}) {
    VethSpec one = spec(name);
    one.peerName = std::string("p") + name;
    links.push_back(host_->createVeth(one)->near.index);
  }
  links.push_back(static_cast<IfIndex>(4711));  // gone meanwhile
  const auto outcome = host_->removeLinks(links);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(host_->listLinks()->size(), 1U) << "lo";
}

TEST_F(RtnlTest, ConfigureSetsAddressesRoutesAndMetrics) {
  const auto veth = host_->createVeth(spec("v0"));
  ASSERT_TRUE(veth);
  InterfaceSetup setup{.link = veth->peer, .arpNotify = true};
  setup.addresses = {{.prefix = *IpPrefix::parse("10.1.0.2/24")},
                     {.prefix = *IpPrefix::parse("2001:db8::2/64")}};
  RouteSpec route;
  route.dst = IpPrefix::any(Family::kV4);
  route.gateway = IpAddress::parse("10.1.0.1");
  route.mtuBytes = 1300;
  route.advmssBytes = 1260;
  route.table = 1000;
  route.priority = 7;
  setup.routes = {route, route};  // the second one is there already
  const auto outcome = inside_->configure(setup);
  ASSERT_TRUE(outcome) << outcome.error().message;

  const auto routes = inside_->listRoutes(Family::kV4, 1000);
  ASSERT_TRUE(routes);
  ASSERT_EQ(routes->size(), 1U);
  EXPECT_EQ(routes->front().gateway, route.gateway);
  EXPECT_EQ(routes->front().mtuBytes, 1300U);
  EXPECT_EQ(routes->front().advmssBytes, 1260U);
  EXPECT_EQ(routes->front().priority, 7U);
  const auto addresses = inside_->listAddresses(veth->peer);
  const auto v6 = std::find_if(addresses->begin(), addresses->end(), [](const Address& address) {
    return address.prefix == *IpPrefix::parse("2001:db8::2/64");
  });
  ASSERT_NE(v6, addresses->end());
  EXPECT_EQ(v6->flags & IFA_F_TENTATIVE, 0U);
  EXPECT_EQ(*container_->run([] { return readSysctl("ipv4/conf/eth0/arp_notify"); }), "1");
}

TEST_F(RtnlTest, AnAddressWithoutConnectedRouteLeavesTheTableAlone) {
  const auto veth = host_->createVeth(spec("v0"));
  ASSERT_TRUE(inside_->configure(
      {.link = veth->peer,
       .addresses = {{.prefix = *IpPrefix::parse("10.1.0.2/24"), .connectedRoute = false}},
       .routes = {}}));
  EXPECT_TRUE(inside_->listRoutes(Family::kV4, RT_TABLE_MAIN)->empty());
}

TEST_F(RtnlTest, ATableNobodyUsedIsEmpty) {
  const auto routes = host_->listRoutes(Family::kV4, 4000);
  ASSERT_TRUE(routes) << routes.error().message;
  EXPECT_TRUE(routes->empty());
}

TEST_F(RtnlTest, RulesComeAndGo) {
  const RuleSpec rule{.family = Family::kV6,
                      .source = IpPrefix::parse("2001:db8::5/128"),
                      .destination = {},
                      .mark = 0x10,
                      .markMask = 0xf0,
                      .inLink = {},
                      .table = 100,
                      .priority = 50};
  ASSERT_TRUE(host_->createRule(rule));
  const auto rules = host_->listRules(Family::kV6);
  const auto found =
      std::find_if(rules->begin(), rules->end(), [](const RuleSpec& r) { return r.table == 100; });
  ASSERT_NE(found, rules->end());
  EXPECT_EQ(found->source, rule.source);
  EXPECT_EQ(found->markMask, 0xf0U);
  EXPECT_TRUE(host_->removeRule(rule));
  EXPECT_EQ(host_->removeRule(rule).error().code, Errc::kNotFound);
}

TEST_F(RtnlTest, NeighboursComeAndGo) {
  const auto veth = host_->createVeth(spec("v0"));
  const NeighbourSpec neighbour{.link = veth->near.index,
                                .address = *IpAddress::parse("10.1.0.9"),
                                .mac = MacAddress::parse("02:00:00:00:00:09")};
  ASSERT_TRUE(host_->ensureNeighbour(neighbour));
  const auto list = host_->listNeighbours(Family::kV4, veth->near.index);
  ASSERT_EQ(list->size(), 1U);
  EXPECT_EQ(list->front().mac, neighbour.mac);
  EXPECT_TRUE(host_->removeNeighbour(neighbour));
}

TEST_F(RtnlTest, PromiscuityIsWhatWasAskedFor) {
  const Link bridge = createBridge();
  ASSERT_TRUE(host_->setPromiscuous(bridge.index, true));
  EXPECT_NE(host_->findLink("br0")->flags & IFF_PROMISC, 0U);
}

TEST_F(RtnlTest, MembersAreListedByTheirMaster) {
  const Link bridge = createBridge();
  VethSpec port = spec("v0");
  port.master = bridge.index;
  ASSERT_TRUE(host_->createVeth(port));
  const auto members = host_->listMembers(bridge.index);
  ASSERT_TRUE(members) << members.error().message;
  ASSERT_EQ(members->size(), 1U);
  EXPECT_EQ(members->front().name, "v0");
}

TEST_F(RtnlTest, ALinkOnAnotherIsBornInItsNamespaceWithAllItWasGiven) {
  const auto uplink = host_->createVeth(spec("uplink"));
  ASSERT_TRUE(uplink);
  const MacAddress mac = MacAddress::random();
  const Macvlan kind{.mode = Macvlan::Mode::kVepa, .broadcastQueue = 2000};
  const auto made = host_->createLink({.name = "net1",
                                       .kind = kind,
                                       .lower = uplink->near.index,
                                       .ns = container_.get(),
                                       .mac = mac,
                                       .mtuBytes = 1300});
  ASSERT_TRUE(made) << made.error().message;
  const auto link = inside_->findLink("net1");
  ASSERT_TRUE(link);
  EXPECT_EQ(link->data, LinkKind(kind));
  EXPECT_EQ(link->mac, mac);
  EXPECT_EQ(link->mtuBytes, 1300U);
  EXPECT_EQ(link->peer, uplink->near.index);
  EXPECT_FALSE(host_->findLink("net1"));
}

TEST_F(RtnlTest, ATapStaysInItsNamespaceAndItsNameIsTaken) {
  ASSERT_TRUE(probeTap());
  const auto made = createTap(*container_, {.name = "tap0", .owner = 0});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(inside_->findLink("tap0")->kind, "tun");
  EXPECT_FALSE(inside_->findLink("tap0")->isUp());
  EXPECT_EQ(createTap(*container_, {.name = "tap0"}).error().code, Errc::kAlreadyExists);
  EXPECT_FALSE(host_->findLink("tap0"));
}

TEST_F(RtnlTest, ATapWhoseContextIsRefusedIsNotMade) {
  if (hasSelinux()) GTEST_SKIP() << "SELinux's policy decides here";
  const auto made = createTap(*container_, {.name = "tap0", .selinuxContext = "u:r:t:s0"});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("SELinux context for tap 'tap0'"), std::string::npos);
  EXPECT_FALSE(inside_->findLink("tap0"));
}

TEST_F(RtnlTest, TheKernelIsAskedForALinkKindWithoutMakingOne) {
  EXPECT_TRUE(host_->knowsLinkKind(Macvlan{}).value_or(false));
  for (const LinkKind& kind : {LinkKind(Ipvlan{}), LinkKind(Vlan{.id = 1}), LinkKind(Dummy{})})
    EXPECT_TRUE(host_->knowsLinkKind(kind));
  EXPECT_EQ(host_->listLinks()->size(), 1U);  // lo
}

TEST_F(RtnlTest, AMissingLinkIsNotFound) {
  EXPECT_EQ(host_->findLink("none").error().code, Errc::kNotFound);
  EXPECT_EQ(host_->findLink(std::string(300, 'x')).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace culvert::netlink
