#include "netlink/wireguard.h"

#include "netlink/test_nodes.h"

namespace culvert::netlink {
namespace {

using testnet::addr;
using testnet::Node;
using testnet::prefix;

constexpr std::uint16_t kPort = 51820;

/// Two nodes with a WireGuard device each, `wg0`.
class WireguardDevices : public testnet::TwoNodes {
 protected:
  void SetUp() override {
    TwoNodes::SetUp();
    if (!left_.rtnl->knowsLinkKind(Wireguard{}).value_or(false))
      GTEST_SKIP() << "this kernel has no wireguard";
    for (const Node* node : {&left_, &right_}) {
      const auto made = node->rtnl->createLink({.name = "wg0",
                                                .kind = Wireguard{},
                                                .mtuBytes = 1420,
                                                .ipv6LinkLocal = false,
                                                .up = true});
      ASSERT_TRUE(made) << made.error().message;
      EXPECT_TRUE(node->rtnl->findLink("wg0")->data == LinkKind(Wireguard{}));
    }
    control_ = std::make_unique<WireguardControl>(*WireguardControl::openIn(*left_.ns));
    link_ = index(left_, "wg0");
  }

  WireguardDevice device() const {
    auto found = control_->find(link_);
    EXPECT_TRUE(found) << found.error().message;
    return found ? *std::move(found) : WireguardDevice();
  }
  void change(const WireguardChange& wanted) const {
    const auto done = control_->change(link_, wanted);
    ASSERT_TRUE(done) << done.error().message;
  }
  static PublicKey newPeer() { return SecretKey::generate()->publicKey(); }

  std::unique_ptr<WireguardControl> control_;
  IfIndex link_ = IfIndex::kNone;
};

TEST_F(WireguardDevices, PodsReachEachOtherThroughTheTunnelInBothFamilies) {
  const SecretKey preshared = *SecretKey::generatePreshared();
  const std::array<SecretKey, 2> keys{*SecretKey::generate(), *SecretKey::generate()};
  for (std::size_t i = 0; i < 2; ++i) {
    const Node& here = i == 0 ? left_ : right_;
    const Node& there = i == 0 ? right_ : left_;
    auto control = WireguardControl::openIn(*here.ns);
    ASSERT_TRUE(control);
    const WireguardPeerChange peer{
        .key = keys.at(1 - i).publicKey(),
        .presharedKey = preshared,
        .endpoint = Endpoint{there.underlay(i == 0 ? Family::kV4 : Family::kV6), kPort},
        .allowedIps = std::vector{IpPrefix::host(there.pod4), IpPrefix::host(there.pod6)}};
    const auto done = control->change(
        index(here, "wg0"), {.privateKey = keys.at(i), .listenPort = kPort, .peers = {peer}});
    ASSERT_TRUE(done) << done.error().message;
    for (const Family family : {Family::kV4, Family::kV6}) {
      RouteSpec route{.dst = IpPrefix::host(there.pod(family)), .source = here.pod(family)};
      route.link = index(here, "wg0");
      ASSERT_TRUE(here.rtnl->addRoute(route));
    }
  }
  EXPECT_TRUE(reaches(left_, right_, Family::kV4));
  EXPECT_TRUE(reaches(left_, right_, Family::kV6));
  const WireguardDevice found = device();
  EXPECT_EQ(found.publicKey, keys[0].publicKey()) << "the kernel computes the same";
  EXPECT_TRUE(found.privateKey == keys[0]);
  ASSERT_EQ(found.peers.size(), 1U);
  EXPECT_TRUE(found.peers[0].presharedKey == preshared);
  EXPECT_TRUE(found.peers[0].lastHandshake);
  EXPECT_GT(found.peers[0].rxBytes, 0U);
  EXPECT_GT(found.peers[0].txBytes, 0U);
}

TEST_F(WireguardDevices, APeerChangesWithoutTheOthersAndGoes) {
  const WireguardPeerChange first{.key = newPeer(),
                                  .allowedIps = std::vector{prefix("10.1.0.0/24")}};
  const WireguardPeerChange second{.key = newPeer(),
                                   .endpoint = Endpoint{addr("2001:db8::9"), 9},
                                   .keepalive = std::chrono::seconds(25),
                                   .allowedIps = std::vector{prefix("10.2.0.0/24")}};
  change({.fwmark = 0x40, .peers = {first, second}});
  change({.peers = {{.key = second.key, .allowedIps = std::vector{prefix("fd00:2::/64")}},
                    {.key = newPeer(), .how = WireguardPeerChange::How::kUpdate},
                    {.key = first.key, .how = WireguardPeerChange::How::kRemove}}});
  const WireguardDevice found = device();
  EXPECT_EQ(found.fwmark, 0x40U);
  EXPECT_FALSE(found.privateKey);
  ASSERT_EQ(found.peers.size(), 1U);
  EXPECT_EQ(found.peers[0].key, second.key);
  EXPECT_EQ(found.peers[0].endpoint, second.endpoint);
  EXPECT_EQ(found.peers[0].keepalive, second.keepalive);
  EXPECT_EQ(found.peers[0].allowedIps, std::vector{prefix("fd00:2::/64")});
  EXPECT_FALSE(found.peers[0].lastHandshake);
  change({.replacePeers = true});
  EXPECT_TRUE(device().peers.empty());
}

TEST_F(WireguardDevices, ThousandsOfPeersAndOfAllowedIpsTakeSeveralMessages) {
  WireguardChange many{.replacePeers = true};
  for (int i = 0; i < 1000; ++i) {
    const auto block =
        prefix("10." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24");
    many.peers.push_back({.key = newPeer(), .allowedIps = std::vector{block}});
  }
  std::vector<IpPrefix> wide;
  for (int i = 0; i < 3000; ++i)
    wide.push_back(prefix("fd00:" + std::to_string(i) + "::/32"));
  many.peers.push_back({.key = newPeer(), .allowedIps = wide});
  change(many);
  const WireguardDevice found = device();
  ASSERT_EQ(found.peers.size(), many.peers.size());
  std::size_t allowed = 0;
  for (const WireguardPeer& peer : found.peers)
    allowed += peer.allowedIps.size();
  EXPECT_EQ(allowed, 1000 + wide.size());
}

TEST_F(WireguardDevices, WhatIsNoWireguardDeviceIsRefused) {
  EXPECT_EQ(control_->find(left_.eth0).error().sysErrno, EOPNOTSUPP);
  EXPECT_EQ(control_->find(static_cast<IfIndex>(4711)).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace culvert::netlink
