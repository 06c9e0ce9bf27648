#include "daemons/routing/model.h"

#include <gtest/gtest.h>

namespace culvert::routing {
namespace {

using objects::AddressBlock;
using objects::IpPool;
using objects::Node;

IpPrefix net(const char* text) {
  return *IpPrefix::parse(text);
}

Node node(const char* name, std::vector<const char*> cidrs, const char* endpoint = "") {
  Node result;
  result.meta.name = name;
  for (const char* cidr : cidrs)
    result.podCidrs.push_back(net(cidr));
  if (*endpoint != 0) result.endpoint.v4 = IpAddress::parse(endpoint);
  return result;
}

std::string texts(const std::vector<IpPrefix>& networks) {
  std::string all;
  for (const IpPrefix& network : networks)
    all += (all.empty() ? "" : " ") + network.text();
  return all;
}

std::string whats(const Model& model) {
  std::string all;
  for (const Problem& problem : model.problems())
    all += (all.empty() ? "" : "; ") + problem.what;
  return all;
}

const Node kMe = node("me", {"10.1.0.0/24", "fd01::/64"}, "198.18.0.1");

TEST(Model, OnlyThePeerThatChangedIsDirty) {
  Model model("me");
  const Node b = node("b", {"10.1.1.0/24"});
  model.setNode("me", &kMe);
  model.setNode("b", &b);
  model.takeDirty();
  const Node moved = node("b", {"10.1.2.0/24"});
  model.setNode("b", &moved);
  const auto dirty = model.takeDirty();
  EXPECT_FALSE(dirty.all);
  EXPECT_EQ(dirty.peers, std::set<std::string>{"b"});
  EXPECT_EQ(texts(model.networksOf("b")), "10.1.2.0/24");
  EXPECT_TRUE(model.takeDirty().empty());
}

TEST(Model, OwnNetworksConcernEverybody) {
  Model model("me");
  model.setNode("me", &kMe);
  EXPECT_TRUE(model.takeDirty().all);
  EXPECT_EQ(texts(model.ownNetworks()), "10.1.0.0/24 fd01::/64");
}

TEST(Model, BlocksAreNetworksOfTheirNode) {
  Model model("me");
  const Node b = node("b", {}), c = node("c", {});
  AddressBlock block{{"", "10-2-0-0-26", "", {}, {}}, net("10.2.0.0/26"), "b", "", "p"};
  model.setBlock("10-2-0-0-26", &block);
  model.setNode("b", &b);
  model.setNode("c", &c);
  EXPECT_EQ(texts(model.networksOf("b")), "10.2.0.0/26");
  model.takeDirty();
  block.node = "c";
  model.setBlock("10-2-0-0-26", &block);
  EXPECT_EQ(texts(model.networksOf("b")), "");
  EXPECT_EQ(texts(model.networksOf("c")), "10.2.0.0/26");
  EXPECT_EQ(model.takeDirty().peers, (std::set<std::string>{"b", "c"}));
  model.setBlock("10-2-0-0-26", nullptr);
  EXPECT_EQ(texts(model.networksOf("c")), "");
}

TEST(Model, WhoHadANetworkFirstKeepsIt) {
  Model model("me");
  const Node b = node("b", {"10.1.1.0/24"}), a = node("a", {"10.1.1.0/24"});
  model.setNode("b", &b);
  model.setNode("a", &a);
  EXPECT_EQ(texts(model.networksOf("b")), "10.1.1.0/24");
  EXPECT_EQ(texts(model.networksOf("a")), "");
  EXPECT_EQ(whats(model), "nodes b and a both claim 10.1.1.0/24; b keeps it");
  model.takeDirty();
  model.setNode("b", nullptr);
  EXPECT_EQ(texts(model.networksOf("a")), "10.1.1.0/24");
  EXPECT_EQ(model.takeDirty().peers, (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(whats(model), "");
}

TEST(Model, APeerInOurOwnPodRangeGetsNoRoute) {
  Model model("me");
  const Node inside = node("b", {"10.1.0.128/25"}),
             endpoint = node("c", {"10.9.0.0/24"}, "10.1.0.7");
  model.setNode("me", &kMe);
  model.setNode("b", &inside);
  model.setNode("c", &endpoint);
  EXPECT_EQ(texts(model.networksOf("b")), "");
  EXPECT_EQ(texts(model.networksOf("c")), "");
  EXPECT_NE(
      whats(model).find("node b claims 10.1.0.128/25, which overlaps this node's 10.1.0.0/24"),
      std::string::npos);
  EXPECT_NE(
      whats(model).find("node c has the address 10.1.0.7, which is in this node's pod network"),
      std::string::npos);
}

TEST(Model, NetworksThatWouldCutTheNodeOffAreRefused) {
  Model model("me");
  const Node everything = node("b", {"0.0.0.0/0"}),
             mine = node("c", {"198.18.0.0/24"}, "198.18.0.3");
  model.setNode("me", &kMe);
  model.setNode("b", &everything);
  model.setNode("c", &mine);
  EXPECT_EQ(texts(model.networksOf("b")), "");
  EXPECT_EQ(texts(model.networksOf("c")), "");
  EXPECT_NE(whats(model).find("which is everything"), std::string::npos);
  EXPECT_NE(whats(model).find("contains this node's own address 198.18.0.1"), std::string::npos);
}

TEST(Model, OverlappingPoolsAreReported) {
  Model model("me");
  IpPool one, two;
  one.cidr = net("10.0.0.0/8");
  two.cidr = net("10.1.0.0/16");
  model.setPool("one", &one);
  model.setPool("two", &two);
  EXPECT_EQ(whats(model), "pools one and two overlap");
}

TEST(Model, ANetworkWithAnAddressOfAnyNodeHasNoRoute) {
  Model model("me");
  const Node b = node("b", {"198.18.7.0/24"}, "198.18.0.2");
  const Node c = node("c", {}, "198.18.7.9");
  model.setNode("me", &kMe);
  model.setNode("b", &b);
  EXPECT_EQ(texts(model.networksOf("b")), "198.18.7.0/24");
  model.takeDirty();
  model.setNode("c", &c);
  EXPECT_TRUE(model.takeDirty().all);
  EXPECT_EQ(texts(model.networksOf("b")), "");
  EXPECT_EQ(whats(model),
            "node b claims 198.18.7.0/24, which contains the address 198.18.7.9 of node c");
  model.setNode("c", nullptr);
  EXPECT_TRUE(model.takeDirty().all);
  EXPECT_EQ(texts(model.networksOf("b")), "198.18.7.0/24");
}

TEST(Model, APoolWithNodesAddressesIsReported) {
  Model model("me");
  IpPool pool;
  pool.cidr = net("198.18.0.0/16");
  const Node b = node("b", {}, "198.18.0.2");
  model.setNode("me", &kMe);
  model.setNode("b", &b);
  model.setPool("p", &pool);
  EXPECT_EQ(whats(model), "pool p contains the address 198.18.0.2 of node b (and 1 more)");
}

/// Any order of events ends in the same networks, as long as nobody claims what another has.
TEST(Model, TheOrderOfEventsDoesNotMatter) {
  const Node b = node("b", {"10.1.1.0/24"}), c = node("c", {"10.1.2.0/24"});
  const AddressBlock block{{"", "10-2-0-0-26", "", {}, {}}, net("10.2.0.0/26"), "c", "", "p"};
  std::vector<int> order = {0, 1, 2, 3};
  do {
    Model model("me");
    for (const int step : order) {
      if (step == 0) model.setNode("me", &kMe);
      if (step == 1) model.setNode("b", &b);
      if (step == 2) model.setNode("c", &c);
      if (step == 3) model.setBlock("10-2-0-0-26", &block);
    }
    EXPECT_EQ(texts(model.networksOf("b")), "10.1.1.0/24");
    EXPECT_EQ(texts(model.networksOf("c")), "10.1.2.0/24 10.2.0.0/26");
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace culvert::routing
