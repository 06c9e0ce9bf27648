#include "daemons/routing/path.h"

#include <gtest/gtest.h>

namespace culvert::routing {
namespace {

using netlink::IfIndex;
using objects::Encapsulation;
using objects::Node;
using objects::TunnelMode;

constexpr IfIndex kEth0{2};

std::optional<UnderlayAddress> at(const char* address, std::uint32_t mtu = 1500) {
  return UnderlayAddress{*IpPrefix::parse(address), kEth0, "eth0", mtu};
}

Node peer(const char* v4, const char* v6 = "") {
  Node node;
  node.meta.name = "b";
  if (*v4 != 0) node.endpoint.v4 = IpAddress::parse(v4);
  if (*v6 != 0) node.endpoint.v6 = IpAddress::parse(v6);
  return node;
}

/// 198.18.0.0/24 and fd00::/64 are on-link, the rest is behind a router.
Reach reach(const IpAddress& endpoint) {
  const bool onLink = IpPrefix::parse("198.18.0.0/24")->contains(endpoint) ||
                      IpPrefix::parse("fd00::/64")->contains(endpoint);
  return {onLink, true, kEth0};
}

const Underlay kDual{at("198.18.0.1/24"), at("fd00::1/64")};
const Underlay kV4Only{at("198.18.0.1/24"), {}};
const Underlay kV6Only{{}, at("fd00::1/64")};

struct Case {
  const char* what;
  Encapsulation encapsulation;
  TunnelMode mode;
  Node peer;
  Family pods;
  Underlay underlay;
  Path::Kind kind;
  const char* endpoint;
};

class Choose : public testing::TestWithParam<Case> {};

TEST_P(Choose, ThePath) {
  const Case& c = GetParam();
  const Path path = choosePath({c.encapsulation, c.mode}, c.peer, c.pods, c.underlay, reach);
  EXPECT_EQ(toText(path.kind), toText(c.kind)) << c.what << ": " << path.why;
  EXPECT_FALSE(path.why.empty()) << c.what;
  if (*c.endpoint != 0) {
    EXPECT_EQ(path.endpoint.text(), c.endpoint) << c.what;
  }
}

using E = Encapsulation;
using M = TunnelMode;
using K = Path::Kind;
constexpr Family kV4 = Family::kV4, kV6 = Family::kV6;

INSTANTIATE_TEST_SUITE_P(
    Table, Choose,
    testing::Values(
        Case{"on-link", E::kVxlanL3, M::kCrossSubnet, peer("198.18.0.2"), kV4, kV4Only, K::kDirect,
             "198.18.0.2"},
        Case{"across", E::kVxlanL3, M::kCrossSubnet, peer("198.18.1.2"), kV4, kV4Only, K::kVxlanL3,
             "198.18.1.2"},
        Case{"always", E::kVxlanL3, M::kAlways, peer("198.18.0.2"), kV4, kV4Only, K::kVxlanL3,
             "198.18.0.2"},
        Case{"never, on-link", E::kVxlanL3, M::kNever, peer("198.18.0.2"), kV4, kV4Only, K::kDirect,
             "198.18.0.2"},
        Case{"never, across", E::kVxlanL3, M::kNever, peer("198.18.1.2"), kV4, kV4Only, K::kNative,
             ""},
        Case{"no tunnel", E::kNone, M::kAlways, peer("198.18.1.2"), kV4, kV4Only, K::kNative, ""},
        Case{"classic", E::kVxlan, M::kAlways, peer("198.18.0.2"), kV4, kV4Only, K::kVxlan,
             "198.18.0.2"},
        Case{"ipip", E::kIpip, M::kCrossSubnet, peer("198.18.1.2"), kV4, kV4Only, K::kIpip,
             "198.18.1.2"},
        Case{"ipip has no IPv6 outside", E::kIpip, M::kAlways, peer("", "fd00:1::2"), kV4, kV6Only,
             K::kNone, ""},
        Case{"ipip has no IPv6 inside", E::kIpip, M::kAlways, peer("198.18.1.2", "fd00:1::2"), kV6,
             kDual, K::kNone, ""},
        Case{"nor needs it on-link", E::kIpip, M::kCrossSubnet, peer("198.18.0.2", "fd00::2"), kV6,
             kDual, K::kDirect, "fd00::2"},
        Case{"IPv6 pods, on-link", E::kVxlanL3, M::kCrossSubnet, peer("198.18.0.2", "fd00::2"), kV6,
             kDual, K::kDirect, "fd00::2"},
        Case{"IPv6 pods over IPv4", E::kVxlanL3, M::kCrossSubnet, peer("198.18.0.2"), kV6, kV4Only,
             K::kVxlanL3, "198.18.0.2"},
        Case{"IPv4 pods by an IPv6 gateway", E::kVxlanL3, M::kCrossSubnet, peer("", "fd00::2"), kV4,
             kV6Only, K::kDirect, "fd00::2"},
        Case{"IPv4 pods over IPv6", E::kVxlanL3, M::kAlways, peer("", "fd00:1::2"), kV4, kV6Only,
             K::kVxlanL3, "fd00:1::2"},
        Case{"no endpoint", E::kVxlanL3, M::kAlways, peer(""), kV4, kV4Only, K::kNone, ""},
        Case{"no common family", E::kVxlanL3, M::kAlways, peer("", "fd00::2"), kV4, kV4Only,
             K::kNone, ""},
        Case{"no underlay", E::kVxlanL3, M::kAlways, peer("198.18.0.2"), kV4, {}, K::kNone, ""},
        Case{"no key", E::kWireguard, M::kAlways, peer("198.18.0.2"), kV4, kV4Only, K::kNone, ""}));

TEST(Choose, ATunnelToAPeerThatDoesNotAnswerAsANeighbourIfThereIsOne) {
  const auto silent = [](const IpAddress&) { return Reach{true, false, kEth0}; };
  const Node there = peer("198.18.0.2");
  const Path path = choosePath({E::kVxlanL3, M::kCrossSubnet}, there, kV4, kV4Only, silent);
  EXPECT_EQ(path.kind, K::kVxlanL3);
  EXPECT_NE(path.why.find("does not answer"), std::string::npos) << path.why;
  EXPECT_EQ(choosePath({E::kNone, M::kNever}, there, kV4, kV4Only, silent).kind, K::kDirect);
}

TEST(Choose, ClassicVxlanForAPeerThatKnowsNoOther) {
  Node old = peer("198.18.1.2");
  old.tunnels = {"vxlan"};
  EXPECT_EQ(choosePath({E::kVxlanL3, M::kAlways}, old, kV4, kV4Only, reach).kind, K::kVxlan);
}

TEST(Mtu, IsTheUnderlaysLessTheLargestTunnelInUse) {
  const auto mtu = [](const Underlay& underlay, std::vector<TunnelRule> rules) {
    return podMtuBytes(underlay, rules);
  };
  EXPECT_EQ(mtu(kV4Only, {{E::kVxlanL3, M::kCrossSubnet}}), 1464u);
  EXPECT_EQ(mtu(kV6Only, {{E::kVxlanL3, M::kCrossSubnet}}), 1444u);
  EXPECT_EQ(mtu(kV4Only, {{E::kVxlan, M::kAlways}}), 1450u);
  EXPECT_EQ(mtu(kDual, {{E::kVxlan, M::kAlways}}), 1430u);
  EXPECT_EQ(mtu(kV4Only, {{E::kIpip, M::kAlways}}), 1480u);
  EXPECT_EQ(mtu(kDual, {{E::kWireguard, M::kAlways}}), 1420u);
  EXPECT_EQ(mtu(kV4Only, {{E::kVxlan, M::kNever}}), 1500u);
  EXPECT_EQ(mtu(kV4Only, {{E::kIpip, M::kAlways}, {E::kVxlan, M::kAlways}}), 1450u);
  EXPECT_EQ(mtu({}, {{E::kVxlan, M::kAlways}}), 0u);
}

}  // namespace
}  // namespace culvert::routing
