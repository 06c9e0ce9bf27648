#include "daemons/bgp/topology.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace culvert::bgp {
namespace {

std::vector<Node> nodes(int count, int zones) {
  std::vector<Node> list;
  for (int i = 0; i < count; ++i) {
    Node node{.name = "n" + std::to_string(i)};
    node.labels["topology.kubernetes.io/zone"] = "z" + std::to_string(i % zones);
    list.push_back(node);
  }
  return list;
}

std::size_t differences(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> out;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out.size();
}

TEST(Reflectors, AreTwoInEachZone) {
  const auto all = nodes(300, 3);
  const auto chosen = chooseReflectors(all, 2);
  std::map<std::string, int> perZone;
  for (const Node& node : all)
    perZone[node.zone()] += std::binary_search(chosen.begin(), chosen.end(), node.name) ? 1 : 0;
  EXPECT_EQ(perZone, (std::map<std::string, int>{{"z0", 2}, {"z1", 2}, {"z2", 2}}));
}

TEST(Reflectors, AreMoreWhereAZoneIsLarge) {
  EXPECT_EQ(chooseReflectors(nodes(5000, 1), 2).size(), 20U);  // 2 x 5000 / 500
}

TEST(Reflectors, StayWhenOthersComeAndGo) {
  auto all = nodes(200, 2);
  const auto before = chooseReflectors(all, 2);
  const auto ordinary = std::find_if(all.begin(), all.end(), [&](const Node& node) {
    return !std::binary_search(before.begin(), before.end(), node.name);
  });
  all.erase(ordinary);
  EXPECT_EQ(chooseReflectors(all, 2), before);
  std::reverse(all.begin(), all.end());
  EXPECT_EQ(chooseReflectors(all, 2), before);
}

TEST(Reflectors, AreReplacedOneByOne) {
  auto all = nodes(200, 2);
  const auto before = chooseReflectors(all, 2);
  for (Node& node : all)
    node.ready = node.name != before.front();
  EXPECT_EQ(differences(chooseReflectors(all, 2), before), 2U);
}

TEST(Reflectors, AreTheLabelledOnesWhereThereAreAny) {
  auto all = nodes(10, 2);
  all[3].reflectorClusterId = IpAddress::parse("1.0.0.1");
  EXPECT_EQ(chooseReflectors(all, 2), std::vector<std::string>{"n3"});
}

TEST(Clients, GoToTheirZonesReflectors) {
  const auto all = nodes(40, 2);
  const auto chosen = chooseReflectors(all, 2);
  for (const Node& node : all) {
    if (std::binary_search(chosen.begin(), chosen.end(), node.name)) continue;
    for (const std::string& name : reflectorsOf(node, all, chosen, 2)) {
      const auto& other = *std::find_if(all.begin(), all.end(),
                                        [&](const Node& each) { return each.name == name; });
      EXPECT_EQ(other.zone(), node.zone());
    }
  }
}

TEST(Clients, OfALargeZoneAreSpread) {
  const auto all = nodes(1000, 1);
  const auto chosen = chooseReflectors(all, 2);
  std::map<std::string, std::size_t> load;
  for (const Node& node : all) {
    for (const std::string& name : reflectorsOf(node, all, chosen, 2))
      ++load[name];
  }
  EXPECT_EQ(load.size(), chosen.size());
  for (const auto& [name, clients] : load)
    EXPECT_LT(clients, 650U) << name;
}

TEST(Clients, WithoutReflectorsInTheirZoneTakeOthers) {
  auto all = nodes(10, 1);
  all[5].labels["topology.kubernetes.io/zone"] = "alone";
  all[5].ready = false;
  EXPECT_EQ(reflectorsOf(all[5], all, chooseReflectors(all, 2), 2).size(), 2U);
}

TEST(Topology, ChangesAtTheLimitAndBackOnlyWellBelowIt) {
  const Topology mesh{.mesh = true};
  const Topology reflectors{.reflectors = true};
  EXPECT_EQ(wantedTopology(100, 100, mesh), mesh);
  EXPECT_EQ(wantedTopology(101, 100, mesh), reflectors);
  EXPECT_EQ(wantedTopology(95, 100, reflectors), reflectors);
  EXPECT_EQ(wantedTopology(90, 100, reflectors), mesh);
}

TEST(Topology, MakesBeforeItBreaks) {
  const Topology mesh{.mesh = true};
  const Topology reflectors{.reflectors = true};
  const Topology both{.mesh = true, .reflectors = true};
  EXPECT_EQ(nextTopology(std::nullopt, reflectors, false), reflectors);
  EXPECT_EQ(nextTopology(mesh, reflectors, false), both);
  EXPECT_EQ(nextTopology(both, reflectors, false), both);
  EXPECT_EQ(nextTopology(both, reflectors, true), reflectors);
  EXPECT_EQ(nextTopology(both, mesh, true), mesh);
}

}  // namespace
}  // namespace culvert::bgp
