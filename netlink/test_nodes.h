#pragma once

#include <gtest/gtest.h>
#include <sched.h>

#include <memory>
#include <string>
#include <vector>

#include "netlink/rtnl.h"
#include "netlink/test_net.h"

/// For netns tests: two nodes on one wire, each with a pod address of its own.
namespace culvert::testnet {

/// A node: a namespace, its underlay address on `eth0`, its pod's addresses on `lo`.
struct Node {
  std::unique_ptr<NetNs> ns;
  std::unique_ptr<netlink::Rtnl> rtnl;
  IpAddress underlay4, underlay6, pod4, pod6;
  netlink::IfIndex eth0 = netlink::IfIndex::kNone;

  IpAddress underlay(Family family) const { return family == Family::kV4 ? underlay4 : underlay6; }
  IpAddress pod(Family family) const { return family == Family::kV4 ? pod4 : pod6; }
};

class TwoNodes : public ::testing::Test {
 protected:
  void SetUp() override {
    left_ = makeNode("1");
    right_ = makeNode("2");
    const auto veth = left_.rtnl->createVeth({.name = "eth0",
                                              .mac = MacAddress::random(),
                                              .alias = "",
                                              .up = false,
                                              .peerName = "eth0",
                                              .peerMac = MacAddress::random(),
                                              .peerNs = right_.ns.get()});
    ASSERT_TRUE(veth) << veth.error().message;
    left_.eth0 = veth->near.index;
    right_.eth0 = veth->peer;
    for (Node* node : {&left_, &right_})
      configure(*node);
  }

  /// Whether a datagram from the pod `from` reaches the pod `to`, and its answer comes back.
  static bool reaches(const Node& from, const Node& to, Family family) {
    const Udp client(*from.ns, from.pod(family), 4000);
    const Udp server(*to.ns, to.pod(family), 5000);
    client.send(to.pod(family), 5000);
    if (server.receive() != from.pod(family)) return false;
    server.send(from.pod(family), 4000);
    return client.receive() == to.pod(family);
  }

  static netlink::IfIndex index(const Node& node, const std::string& link) {
    const auto found = node.rtnl->findLink(link);
    EXPECT_TRUE(found) << link;
    return found ? found->index : netlink::IfIndex::kNone;
  }

  Node left_, right_;

 private:
  static Node makeNode(const std::string& number) {
    Node node;
    node.ns = std::make_unique<NetNs>(newNamespace());
    node.rtnl = std::make_unique<netlink::Rtnl>(netlink::Rtnl::openIn(*node.ns).value());
    node.underlay4 = addr("198.18.0." + number);
    node.underlay6 = addr("2001:db8::" + number);
    node.pod4 = addr("10." + number + ".0.1");
    node.pod6 = addr("fd00:" + number + "::1");
    return node;
  }

  static void configure(const Node& node) {
    const auto onWire =
        node.rtnl->configure({.link = node.eth0,
                              .addresses = {{.prefix = IpPrefix(node.underlay4, 24)},
                                            {.prefix = IpPrefix(node.underlay6, 64)}},
                              .routes = {}});
    ASSERT_TRUE(onWire) << onWire.error().message;
    const auto pod = node.rtnl->configure({.link = node.rtnl->findLink("lo")->index,
                                           .addresses = {{.prefix = IpPrefix::host(node.pod4)},
                                                         {.prefix = IpPrefix::host(node.pod6)}},
                                           .routes = {}});
    ASSERT_TRUE(pod) << pod.error().message;
  }
};

}  // namespace culvert::testnet
