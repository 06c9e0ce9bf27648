#include "daemons/bgp/model.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "daemons/bgp/classify.h"
#include "daemons/bgp/input_json.h"

namespace culvert::bgp {
namespace {

using nlohmann::json;

json resource(const char* name, json spec) {
  return {{"metadata", {{"name", name}}}, {"spec", std::move(spec)}};
}

json threeNodes() {
  return json::parse(R"j({"thisNode": "b", "clusterPrefixes": ["10.244.0.0/16"], "nodes": [
    {"name": "a", "ipv4": "198.18.0.1/24", "podBlocks": ["10.244.1.0/26"]},
    {"name": "b", "ipv4": "198.18.0.2/24", "podBlocks": ["10.244.2.0/26"],
     "labels": {"rack": "r1"}},
    {"name": "c", "ipv4": "198.18.0.3/24", "podBlocks": ["10.244.3.0/26"]}]})j");
}

BgpModel modelOf(const json& value) {
  std::vector<Problem> problems;
  const auto input = parseInput(value, problems);
  EXPECT_TRUE(input) << input.error().message;
  auto made = model(*input);
  EXPECT_TRUE(made) << made.error().message;
  made->problems.insert(made->problems.end(), problems.begin(), problems.end());
  return *made;
}

std::string textOf(const json& value) {
  const auto text = render(modelOf(value).config);
  EXPECT_TRUE(text) << text.error().message;
  return text.value_or("");
}

const Peer* find(const BirdConfig& config, const std::string& name) {
  for (const Peer& peer : config.peers) {
    if (peer.name == name) return &peer;
  }
  return nullptr;
}

std::vector<std::string> names(const BirdConfig& config) {
  std::vector<std::string> list;
  for (const Peer& peer : config.peers)
    list.push_back(peer.name);
  return list;
}

std::string problemsOf(const BgpModel& made) {
  std::string text;
  for (const Problem& problem : made.problems)
    text += problem.object + ": " + problem.message + "\n";
  return text;
}

using Names = std::vector<std::string>;

TEST(Model, MeshesEveryNodeAndTheLowerAddressConnects) {
  const BirdConfig config = modelOf(threeNodes()).config;
  EXPECT_EQ(names(config), (Names{"node4_a", "node4_c"}));
  EXPECT_TRUE(find(config, "node4_a")->passive);
  EXPECT_FALSE(find(config, "node4_c")->passive);
  EXPECT_EQ(find(config, "node4_a")->neighborAs, 64512U);
}

TEST(Model, IsTheSameWhateverTheOrderOfItsInput) {
  json other = threeNodes();
  std::reverse(other["nodes"].begin(), other["nodes"].end());
  EXPECT_EQ(textOf(other), textOf(threeNodes()));
}

TEST(Model, GivesEachNodeItsAsNumber) {
  json input = threeNodes();
  input["configurations"] = {resource("default", {{"asNumber", 65000}}),
                             resource("node.c", {{"asNumber", 65003}})};
  input["nodes"][0]["asNumber"] = 65001;
  const BirdConfig config = modelOf(input).config;
  EXPECT_EQ(find(config, "node4_a")->neighborAs, 65001U);
  EXPECT_EQ(find(config, "node4_c")->neighborAs, 65003U);
  EXPECT_EQ(find(config, "node4_c")->localAs, 65000U);
}

TEST(Model, PeersWithRoutersThatSelectThisNode) {
  json input = threeNodes();
  input["peers"] = {
      resource("all", {{"peerIP", "198.18.0.254"}, {"asNumber", 65001}}),
      resource("far", {{"peerIP", "198.18.7.1:1790"}, {"asNumber", 65001}, {"ttlSecurity", 3}}),
      resource("mine",
               {{"peerIP", "198.18.0.253"}, {"asNumber", 65001}, {"nodeSelector", "rack == 'r1'"}}),
      resource("other", {{"peerIP", "198.18.0.252"}, {"asNumber", 65001}, {"node", "a"}})};
  const BirdConfig config = modelOf(input).config;
  EXPECT_EQ(names(config), (Names{"node4_a", "node4_c", "peer4_all", "peer4_far", "peer4_mine"}));
  EXPECT_TRUE(find(config, "peer4_all")->direct);
  EXPECT_FALSE(find(config, "peer4_far")->direct);
  EXPECT_EQ(find(config, "peer4_far")->neighborPort, 1790);
}

TEST(Model, NodesOfAPeerSelectorPeerBackUnlessManual) {
  json input = threeNodes();
  json spec{{"nodeSelector", "!has(rack)"}, {"peerSelector", "rack == 'r1'"}};
  input["configurations"] = json::array({resource("default", {{"nodeToNodeMeshEnabled", false}})});
  input["peers"] = json::array({resource("p", spec)});
  EXPECT_EQ(modelOf(input).config.peers.size(), 2U);  // we are selected by it
  spec["reversePeering"] = "Manual";
  input["peers"] = json::array({resource("p", spec)});
  EXPECT_EQ(modelOf(input).config.peers.size(), 0U);
  input["thisNode"] = "a";
  EXPECT_EQ(modelOf(input).config.peers.size(), 1U);
}

TEST(Model, ANodeWithAClusterIdLeavesTheMeshAndReflectsToSelectedNodes) {
  json input = threeNodes();
  input["nodes"][1]["routeReflectorClusterID"] = "1.0.0.1";
  EXPECT_EQ(modelOf(input).config.peers.size(), 0U);
  input["peers"] = json::array({resource("rr", {{"peerSelector", "rack == 'r1'"}})});
  const BirdConfig reflector = modelOf(input).config;
  ASSERT_EQ(reflector.peers.size(), 2U);
  EXPECT_TRUE(reflector.peers[0].reflectorClient);
  EXPECT_EQ(reflector.peers[0].clusterId->text(), "1.0.0.1");
  input["thisNode"] = "a";
  const BirdConfig client = modelOf(input).config;
  EXPECT_EQ(client.peers.size(), 2U);  // the mesh with c, and the reflector
  EXPECT_FALSE(client.peers[1].reflectorClient);
}

TEST(Model, SaysWhatIsWrongAndGoesOnWithTheRest) {
  json input = threeNodes();
  input["nodes"].push_back(
      {{"name", "d"}, {"ipv4", "198.18.0.4/24"}, {"podBlocks", json::array({"10.244.2.0/25"})}});
  input["nodes"].push_back({{"name", "e\";"}, {"ipv4", "198.18.0.5/24"}});
  input["filters"] =
      json::array({resource("f", {{"importV4", json::array({{{"action", "Perhaps"}}})}})});
  input["peers"] = {
      resource("in-pods", {{"peerIP", "10.244.9.9"}, {"asNumber", 65001}}),
      resource("one", {{"peerIP", "198.18.0.254"}, {"asNumber", 65001}, {"filters", {"absent"}}}),
      resource("same", {{"peerIP", "198.18.0.254"}, {"asNumber", 65002}}),
      resource("secret", {{"peerIP", "198.18.0.253"},
                          {"asNumber", 65001},
                          {"password", {{"secretKeyRef", {{"name", "s"}, {"key", "k"}}}}}}),
      resource("six", {{"peerIP", "fd18::1"}, {"asNumber", 65001}})};
  const BgpModel made = modelOf(input);
  EXPECT_EQ(problemsOf(made),
            "BGPPeer in-pods: 10.244.9.9 is an address of pods\n"
            "BGPPeer one: there is no BGPFilter absent\n"
            "BGPPeer same: peers with 198.18.0.254, as BGPPeer one does\n"
            "BGPPeer secret: its password is not there: Secret s, key k\n"
            "BGPPeer six: this node has no IPv6 address\n"
            "Node: one has a name with quotes or spaces\n"
            "Node d: claims 10.244.2.0/25, as this node does 10.244.2.0/26\n"
            "BGPFilter f: spec.importV4[0].action: \"Perhaps\" is not one of Accept, Reject\n");
  EXPECT_EQ(names(made.config), (Names{"node4_a", "node4_c", "node4_d", "peer4_one"}));
}

TEST(Model, AnIpv6OnlyNodeHasARouterIdFromItsName) {
  json input = json::parse(R"j({"thisNode": "a", "nodes": [{"name": "a", "ipv6": "fd18::1/64"},
                               {"name": "b", "ipv6": "fd18::2/64"}]})j");
  const BirdConfig config = modelOf(input).config;
  EXPECT_FALSE(config.routerId.isUnspecified());
  EXPECT_EQ(names(config), Names{"node6_b"});
  input["thisNode"] = "b";
  EXPECT_NE(modelOf(input).config.routerId, config.routerId);
}

json manyNodes(int count) {
  json input{{"thisNode", "n0"}, {"clusterPrefixes", {"10.244.0.0/16"}}};
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    input["nodes"].push_back(
        {{"name", "n" + number},
         {"ipv4", "198.18." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + "/15"},
         {"podBlocks",
          {"10.244." + std::to_string(i / 4) + "." + std::to_string(i % 4 * 64) + "/26"}},
         {"labels", {{"topology.kubernetes.io/zone", i % 2 == 0 ? "even" : "odd"}}}});
  }
  return input;
}

TEST(Model, AHundredNodesMeshAndOneMoreReflect) {
  EXPECT_EQ(modelOf(manyNodes(100)).config.peers.size(), 99U);
  const BgpModel made = modelOf(manyNodes(101));
  EXPECT_EQ(made.reflectors.size(), 4U);  // two in each zone
  EXPECT_TRUE(made.topology == (Topology{.reflectors = true}));
  EXPECT_FALSE(made.changing);
}

TEST(Model, AReflectorsConfigurationDoesNotGrowWithTheCluster) {
  json small = manyNodes(200);
  small["thisNode"] = modelOf(small).reflectors.front();
  json large = small;
  large["nodes"].push_back({{"name", "late"},
                            {"ipv4", "198.18.0.252/15"},
                            {"ready", false},
                            {"podBlocks", {"10.244.240.0/26"}}});
  EXPECT_EQ(textOf(large), textOf(small));
}

TEST(Model, GoesFromMeshToReflectorsWithBothInBetween) {
  json input = manyNodes(101);
  input["topology"] = {{"mesh", true}, {"reflectors", false}};
  const BgpModel both = modelOf(input);
  EXPECT_TRUE(both.changing);
  EXPECT_GE(both.config.peers.size(), 102U);
  input["topology"] = {{"mesh", true}, {"reflectors", true}};
  input["settled"] = true;
  input["nodes"][7]["settled"] = false;
  EXPECT_TRUE(modelOf(input).changing);  // n7 still needs our mesh session
  input["nodes"][7]["settled"] = true;
  EXPECT_FALSE(modelOf(input).changing);
  EXPECT_LT(modelOf(input).config.peers.size(), 10U);
}

TEST(Render, GivesTheSameNameToNoTwoThings) {
  EXPECT_EQ(symbolName("node4", "a"), "node4_a");
  EXPECT_NE(symbolName("node4", "a.b"), symbolName("node4", "a-b"));
  EXPECT_NE(symbolName("node4", "a.b"), symbolName("node4", "a_b"));
  const std::string longName(200, 'x');
  EXPECT_LE(symbolName("node4", longName).size(), 64U);
  EXPECT_NE(symbolName("node4", longName), symbolName("node4", longName + "y"));
}

TEST(Render, WritesAnExternalPeerWithEverything) {
  json input = threeNodes();
  input["nodes"] = json::array({input["nodes"][1]});
  input["services"] = {"10.96.0.1/32"};
  input["passwords"] = {{"s/k", "pass word;#"}};
  input["configurations"] =
      json::array({resource("default", {{"bindMode", "NodeIP"}, {"listenPort", 1179}})});
  input["filters"] =
      json::array({resource("f", {{"exportV4",
                                   {{{"peerType", "eBGP"}, {"action", "Reject"}},
                                    {{"peerType", "iBGP"}, {"action", "Accept"}}}}})});
  input["peers"] =
      json::array({resource("tor", json::parse(R"j({"peerIP": "198.18.9.1", "asNumber": 65001,
    "localASNumber": 64999, "filters": ["f"], "password": {"secretKeyRef": {"name": "s", "key": "k"}},
    "ttlSecurity": 2, "reachableBy": "198.18.0.254", "keepaliveTime": "10s",
    "numAllowedLocalASNumbers": 1, "nextHopMode": "Keep",
    "bfd": {"enabled": true, "intervalMs": 100, "passive": true},
    "importLimit": {"prefixes": 9}, "exportLimit": {"prefixes": 8, "action": "Disable"},
    "gracefulRestart": {"restartTime": "1m", "longLivedStaleTime": "1h"}})j"))});
  const std::string text = textOf(input);
  EXPECT_NE(text.find(R"j(  local 198.18.0.2 port 1179 as 64999;
  strict bind on;
  multihop 2;
  ttl security on;
  connect delay time 1;
  connect retry time 5;
  error wait time 2, 30;
  hold time 30;
  keepalive time 10;
  graceful restart on;
  graceful restart time 60;
  long lived graceful restart on;
  long lived stale time 3600;
  bfd { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; passive on; };
  password "pass word;#";
  allow local as 1;
  ipv4 {
    import filter in4_fabric_)j"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(R"j(    next hop keep on;
    import limit 9 action block;
    export limit 8 action disable;
  };
}
protocol bgp peer4_tor from t_)j"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(R"j(  description "BGPPeer tor";
  neighbor 198.18.9.1 port 179 as 65001;
})j"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("function fe4x_f() {\n  if true then {\n    reject;\n  }\n}\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("  route 198.18.9.1/32 via 198.18.0.254;\n"), std::string::npos);
  EXPECT_NE(text.find("  route 10.96.0.1/32 blackhole;\n"), std::string::npos);
}

TEST(Render, WritesRules) {
  json input = threeNodes();
  input["filters"] = json::array({resource("my.filter", json::parse(R"j({"importV4": [
    {"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 16, "max": 24},
     "source": "RemotePeers", "interface": "eth*", "communities": {"values": ["65000:1"]},
     "asPathPrefix": [65001, 65002], "priority": 5, "action": "Accept",
     "operations": [{"addCommunity": {"value": "1:2:3"}}, {"prependASPath": {"prefix": [7, 8]}},
                    {"setPriority": {"value": 6}}]},
    {"cidr": "10.0.0.0/8", "matchOperator": "NotIn", "action": "Reject"},
    {"cidr": "10.0.0.0/8", "matchOperator": "NotEqual", "action": "Reject"}]})j"))});
  input["peers"] = json::array({resource(
      "tor", {{"peerIP", "198.18.0.254"}, {"asNumber", 65001}, {"filters", {"my.filter"}}})});
  const std::string text = textOf(input);
  EXPECT_NE(text.find(R"j(() {
  if (net ~ [ 10.0.0.0/8{16,24} ]) && (source = RTS_BGP) && (defined(ifname)) && (ifname ~ "eth*") && ((65000, 1) ~ bgp_community) && (bgp_path ~ [= 65001 65002 * =]) && (defined(culvert_priority)) && (culvert_priority = 5) then {
    bgp_large_community.add((1, 2, 3));
    bgp_path.prepend(8);
    bgp_path.prepend(7);
    culvert_priority = 6;
    accept;
  }
  if (net !~ [ 10.0.0.0/8{8,32} ]) then {
    reject;
  }
  if (net != 10.0.0.0/8) then {
    reject;
  }
}
)j"),
            std::string::npos)
      << text;
}

BirdConfig onePeer() {
  BirdConfig config;
  config.routerId = IpAddress::parse("198.18.0.1").value();
  Peer peer;
  peer.name = "node4_b";
  peer.neighbor = IpAddress::parse("198.18.0.2");
  peer.localAs = peer.neighborAs = 64512;
  config.peers.push_back(peer);
  return config;
}

TEST(Render, LetsNoFieldEndAStringOrAStatement) {
  ASSERT_TRUE(render(onePeer()));
  const std::string evil = "x\"; } protocol static { route 0.0.0.0/0 blackhole; } #";
  const std::vector<std::function<void(BirdConfig&, const std::string&)>> fields{
      [](BirdConfig& c, const std::string& s) { c.peers[0].name = s; },
      [](BirdConfig& c, const std::string& s) { c.peers[0].description = s; },
      [](BirdConfig& c, const std::string& s) { c.peers[0].password = s; },
      [](BirdConfig& c, const std::string& s) {
        c.peers[0].dynamicName = s;
        c.peers[0].neighbor.reset();
        c.peers[0].range = IpPrefix::parse("198.18.0.0/24");
      },
      [](BirdConfig& c, const std::string& s) { c.ignoredInterfaces = {s}; },
      [](BirdConfig& c, const std::string& s) {
        c.filters = {{.name = "f", .rules = {{.interface = s}}}};
      }};
  for (const auto& set : fields) {
    for (const std::string& value : {evil, std::string("a\nb\""), std::string("\"")}) {
      BirdConfig config = onePeer();
      set(config, value);
      EXPECT_FALSE(render(config)) << value;
    }
  }
}

TEST(Render, TurnsAFiltersNameIntoASymbol) {
  BirdConfig config = onePeer();
  config.filters = {{.name = "f\"; evil", .rules = {{}}}};
  config.peers[0].filters = {"f\"; evil"};
  EXPECT_EQ(render(config)->find("evil\""), std::string::npos);
  EXPECT_EQ(render(config)->find("; evil"), std::string::npos);
}

struct ChangeCase {
  const char* name;
  void (*change)(BirdConfig&);
  ChangeKind kind;
};

class Classify : public testing::TestWithParam<ChangeCase> {};

TEST_P(Classify, IsWhatBirdDoes) {
  BirdConfig after = onePeer();
  GetParam().change(after);
  const Change change = classify(onePeer(), after);
  EXPECT_EQ(text(change.kind), text(GetParam().kind));
  EXPECT_EQ(change.restarted.size(), GetParam().kind == ChangeKind::kRestart ? 1U : 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Changes, Classify,
    testing::Values(
        ChangeCase{"nothing", [](BirdConfig&) {}, ChangeKind::kNone},
        ChangeCase{"service", [](BirdConfig& c) { c.services.emplace_back(); }, ChangeKind::kSoft},
        ChangeCase{"filters", [](BirdConfig& c) { c.peers[0].filters = {"f"}; }, ChangeKind::kSoft},
        ChangeCase{"bfd", [](BirdConfig& c) { c.peers[0].bfd.enabled = true; }, ChangeKind::kSoft},
        ChangeCase{"limit", [](BirdConfig& c) { c.peers[0].importLimit.emplace(); },
                   ChangeKind::kSoft},
        ChangeCase{"nexthop",
                   [](BirdConfig& c) { c.peers[0].nextHop = objects::NextHopMode::kSelf; },
                   ChangeKind::kSoft},
        ChangeCase{"description", [](BirdConfig& c) { c.peers[0].description = "x"; },
                   ChangeKind::kSoft},
        ChangeCase{"gone", [](BirdConfig& c) { c.peers.clear(); }, ChangeKind::kPeers},
        ChangeCase{"more",
                   [](BirdConfig& c) {
                     c.peers.push_back(c.peers[0]);
                     c.peers[1].name = "z";
                   },
                   ChangeKind::kPeers},
        ChangeCase{"as", [](BirdConfig& c) { c.peers[0].localAs = 1; }, ChangeKind::kRestart},
        ChangeCase{"password", [](BirdConfig& c) { c.peers[0].password = "x"; },
                   ChangeKind::kRestart},
        ChangeCase{"keepalive",
                   [](BirdConfig& c) { c.peers[0].keepaliveTime = std::chrono::seconds(1); },
                   ChangeKind::kRestart},
        ChangeCase{"port", [](BirdConfig& c) { c.peers[0].localPort = 1; }, ChangeKind::kRestart},
        ChangeCase{"client", [](BirdConfig& c) { c.peers[0].reflectorClient = true; },
                   ChangeKind::kRestart},
        ChangeCase{"routerid", [](BirdConfig& c) { c.routerId = c.routerId.next(); },
                   ChangeKind::kRestart}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(Stages, RestartNoMoreThanABatchAtOnceAndEndAtTheGoal) {
  json input = manyNodes(50);
  const BirdConfig before = modelOf(input).config;
  input["configurations"] = json::array({resource("default", {{"nodeMeshMaxRestartTime", "60s"}})});
  input["nodes"][0]["ipv4"] = "198.18.250.1/15";  // the router id, too
  const BirdConfig after = modelOf(input).config;
  const auto steps = stages(before, after, 10);
  ASSERT_EQ(steps.size(), 5U);
  const BirdConfig* last = &before;
  for (const Stage& stage : steps) {
    const Change change = classify(*last, stage.config);
    EXPECT_LE(change.restarted.size(), 10U);
    EXPECT_EQ(change.restarted, stage.restarted);
    EXPECT_TRUE(render(stage.config));
    last = &stage.config;
  }
  EXPECT_EQ(*last, after);
}

TEST(Stages, AreOneForWhatRestartsNothing) {
  BirdConfig after = onePeer();
  after.services.emplace_back();
  EXPECT_EQ(stages(onePeer(), after, 1).size(), 1U);
  EXPECT_TRUE(stages(after, after, 1).empty());
}

}  // namespace
}  // namespace culvert::bgp
