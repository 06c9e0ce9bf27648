#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemons/objects/bgp_configuration.h"
#include "daemons/objects/bgp_filter.h"
#include "daemons/objects/bgp_peer.h"

namespace culvert::objects {
namespace {

using nlohmann::json;

json object(const std::string& name, json spec) {
  return {{"metadata", {{"name", name}}}, {"spec", std::move(spec)}};
}

template <class T>
std::string problemsOf(const json& value) {
  const auto parsed = T::parse(value);
  return parsed ? "" : parsed.error().message;
}

TEST(BgpCommunity, ReadsStandardAndLarge) {
  EXPECT_EQ(BgpCommunity::parse("65000:1")->text(), "65000:1");
  EXPECT_EQ(BgpCommunity::parse("4200000000:1:2")->text(), "4200000000:1:2");
  for (const char* wrong : {"", "1", "65536:1", "1:2:3:4", "a:b", "1:", "-1:2", "1:4294967296:1"})
    EXPECT_FALSE(BgpCommunity::parse(wrong)) << wrong;
}

TEST(Duration, IsWhatGoWrites) {
  EXPECT_EQ(parseDuration("1m30s"), std::chrono::seconds(90));
  EXPECT_EQ(parseDuration("2h"), std::chrono::seconds(7200));
  for (const char* wrong : {"", "90", "1d", "s", "1.5s", "99999999999s"})
    EXPECT_FALSE(parseDuration(wrong)) << wrong;
}

TEST(BgpConfiguration, LeavesUnsetWhatIsNotThere) {
  const auto parsed = BgpConfiguration::parse(object("default", json::object()));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, BgpConfiguration{.name = "default"});
}

TEST(BgpConfiguration, ReadsCalicosFieldsAndOurs) {
  const auto parsed = BgpConfiguration::parse(object("default", json::parse(R"j({
    "logSeverityScreen": "Debug", "nodeToNodeMeshEnabled": false, "asNumber": "65001",
    "listenPort": 1790, "bindMode": "NodeIP", "ignoredInterfaces": ["docker*"],
    "serviceLoadBalancerIPs": [{"cidr": "198.18.9.0/24"}],
    "serviceLoadBalancerAggregation": "Disabled",
    "communities": [{"name": "blue", "value": "65000:7"}],
    "prefixAdvertisements": [{"cidr": "10.244.0.0/16", "communities": ["blue", "1:2:3"]}],
    "nodeMeshPassword": {"secretKeyRef": {"name": "bgp", "key": "mesh"}},
    "nodeMeshMaxRestartTime": "2m", "ipv4NormalRoutePriority": 512, "meshMaxNodes": 50,
    "reflectorsPerZone": 3, "nodeRanges": ["198.18.0.0/24"], "bfd": {"enabled": true}})j")));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->asNumber, 65001U);
  EXPECT_EQ(parsed->prefixAdvertisements.at(0).communities.at(0).text(), "65000:7");
  EXPECT_EQ(parsed->prefixAdvertisements.at(0).communities.at(1).text(), "1:2:3");
  EXPECT_EQ(parsed->nodeMeshPassword->text(), "bgp/mesh");
  EXPECT_EQ(parsed->serviceLoadBalancerAggregation, false);
  EXPECT_EQ(parsed->nodeMeshMaxRestartTime, std::chrono::seconds(120));
  EXPECT_TRUE(parsed->bfd->enabled);
}

TEST(BgpConfiguration, NamesEveryProblemWithItsPath) {
  const std::string problems = problemsOf<BgpConfiguration>(object("default", json::parse(R"j({
    "asNumber": 0, "listenPort": 70000, "bindMode": "All", "ignoredInterfaces": ["a\"; x"],
    "serviceClusterIPs": [{"cidr": "10.96.0.1/12"}], "meshMaxNodes": 5001,
    "prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["red"]}],
    "bfd": {"intervalMs": 1}, "gracefulRestart": {"restartTime": "2d"}})j")));
  for (const char* expected :
       {"asNumber: 0 is not an integer within 1..4294967295", "spec.listenPort: 70000",
        "spec.bindMode: \"All\" is not one of None, NodeIP", "spec.ignoredInterfaces",
        "spec.serviceClusterIPs[0].cidr: \"10.96.0.1/12\" has host bits set",
        "spec.meshMaxNodes: 5001 is not an integer within 1..5000",
        "\"red\" is neither a community nor the name of one", "spec.bfd.intervalMs",
        "spec.gracefulRestart.restartTime"})
    EXPECT_NE(problems.find(expected), std::string::npos) << expected << "\n  in " << problems;
}

TEST(BgpConfiguration, OfANodeLiesOverTheDefault) {
  const auto base =
      BgpConfiguration::parse(object("default", {{"asNumber", 65000}, {"listenPort", 1790}}));
  const auto own = BgpConfiguration::parse(object("node.a", {{"asNumber", 65001}}));
  const BgpConfiguration both = own->over(*base);
  EXPECT_EQ(both.asNumber, 65001U);
  EXPECT_EQ(both.listenPort, 1790);
}

TEST(BgpPeer, ReadsAddressesWithAndWithoutPorts) {
  const auto peer = [](const char* ip) {
    return BgpPeer::parse(object("p", {{"peerIP", ip}, {"asNumber", 65000}})).value();
  };
  EXPECT_EQ(peer("198.18.0.1").peerPort, 0);
  EXPECT_EQ(peer("198.18.0.1:1790").peerPort, 1790);
  EXPECT_EQ(peer("fd18::1").peerIp->text(), "fd18::1");
  EXPECT_EQ(peer("[fd18::1]:1790").peerPort, 1790);
  EXPECT_EQ(peer("[fd18::1]:1790").peerIp->text(), "fd18::1");
}

TEST(BgpPeer, ReadsEveryField) {
  const auto parsed = BgpPeer::parse(object("tor", json::parse(R"j({
    "nodeSelector": "rack == 'r1'", "peerIP": "198.18.0.1", "asNumber": 65001,
    "localASNumber": 64999, "nextHopMode": "Self",
    "password": {"secretKeyRef": {"name": "s", "key": "k"}}, "sourceAddress": "None",
    "maxRestartTime": "60s", "keepaliveTime": "10s", "numAllowedLocalASNumbers": 2,
    "ttlSecurity": 1, "reachableBy": "198.18.0.254", "filters": ["f"],
    "reversePeering": "Manual", "bfd": {"enabled": true, "intervalMs": 100, "multiplier": 5},
    "importLimit": {"prefixes": 1000, "action": "Restart"}, "exportLimit": {"prefixes": 5},
    "gracefulRestart": {"enabled": false}})j")));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->selects("x", {{"rack", "r1"}}));
  EXPECT_FALSE(parsed->selects("x", {}));
  EXPECT_EQ(parsed->localAsNumber, 64999U);
  EXPECT_EQ(parsed->nextHopMode, NextHopMode::kSelf);
  EXPECT_FALSE(parsed->sourceNodeIp);
  EXPECT_FALSE(parsed->reversePeering);
  EXPECT_EQ(parsed->importLimit->action, LimitAction::kRestart);
  EXPECT_EQ(parsed->exportLimit->action, LimitAction::kBlock);
  EXPECT_EQ(parsed->bfd.intervalMs, 100U);
  EXPECT_FALSE(parsed->gracefulRestart->enabled);
}

TEST(BgpPeer, RefusesWhatContradictsItself) {
  const std::string problems = problemsOf<BgpPeer>(object("Bad_Name", json::parse(R"j({
    "node": "a", "nodeSelector": "all()", "peerIP": "198.18.0.1:0", "peerSelector": "has(",
    "localWorkloadSelector": "all()", "reachableBy": "fd18::1", "ttlSecurity": 255,
    "importLimit": {}})j")));
  for (const char* expected :
       {"metadata.name", "spec.nodeSelector: \"all()\" cannot stand beside node",
        "spec.peerSelector: \"has(\" is not a selector: column 5",
        "spec.peerSelector: \"has(\" cannot stand beside", "spec.localWorkloadSelector",
        "spec.peerIP", "spec.asNumber: is required with peerIP", "spec.reachableBy",
        "spec.ttlSecurity", "spec.importLimit.prefixes: is required"})
    EXPECT_NE(problems.find(expected), std::string::npos) << expected << "\n  in " << problems;
}

TEST(BgpPeer, NeedsSomeoneToPeerWith) {
  EXPECT_NE(problemsOf<BgpPeer>(object("p", json::object())).find("spec.peerIP: is required"),
            std::string::npos);
}

TEST(BgpFilter, ReadsRules) {
  const auto parsed = BgpFilter::parse(object("f", json::parse(R"j({
    "importV4": [{"cidr": "198.18.0.0/15", "matchOperator": "In",
                  "prefixLength": {"min": 16, "max": 24}, "action": "Reject"},
                 {"action": "Accept", "operations": [{"setPriority": {"value": 50}},
                    {"addCommunity": {"value": "65000:9"}}, {"prependASPath": {"prefix": [1, 2]}}]}],
    "exportV6": [{"source": "RemotePeers", "interface": "eth*", "peerType": "eBGP",
                  "communities": {"values": ["1:2"]}, "asPathPrefix": [65001], "priority": 7,
                  "action": "Accept"}]})j")));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->importV4.at(0).maxLength, 24);
  EXPECT_FALSE(parsed->importV4.at(0).accept);
  EXPECT_EQ(parsed->importV4.at(1).operations.at(2).path, (std::vector<AsNumber>{1, 2}));
  EXPECT_TRUE(parsed->exportV6.at(0).remotePeersOnly);
  EXPECT_EQ(parsed->exportV6.at(0).peerType, BgpFilterRule::PeerType::kExternal);
  EXPECT_EQ(parsed->rules(Family::kV6, false), parsed->exportV6);
}

TEST(BgpFilter, RefusesEachFieldOutOfRange) {
  const std::string problems = problemsOf<BgpFilter>(object("f", json::parse(R"j({
    "importV4": [{"cidr": "fd18::/64", "matchOperator": "Within", "action": "Maybe"},
                 {"prefixLength": {"min": 33}, "priority": 0},
                 {"action": "Accept", "interface": "eth0\"; accept", "operations": [{}],
                  "communities": {"values": ["1:2", "3:4"]}, "asPathPrefix": [0]},
                 {"cidr": "10.0.0.0/8", "action": "Accept"}]})j")));
  for (const char* expected :
       {"spec.importV4[0].cidr: \"fd18::/64\" is not of IPv4", "spec.importV4[0].matchOperator",
        "spec.importV4[0].action", "spec.importV4[1].prefixLength: {\"min\":33} needs a cidr",
        "spec.importV4[1].prefixLength.min: 33 is not an integer within 0..32",
        "spec.importV4[1].priority", "spec.importV4[1].action: is required",
        "spec.importV4[2].interface", "spec.importV4[2].operations[0].addCommunity|",
        "spec.importV4[2].communities.values", "spec.importV4[2].asPathPrefix",
        "spec.importV4[3].matchOperator: and cidr go together"})
    EXPECT_NE(problems.find(expected), std::string::npos) << expected << "\n  in " << problems;
}

TEST(BgpObjects, TakeAnyTypeAnywhereWithoutHarm) {
  for (const char* spec : {"1", "[]", "\"x\"", "null", "{\"asNumber\":[]}", "{\"importV4\":{}}",
                           "{\"filters\":\"a\"}", "{\"peerIP\":{}}", "{\"communities\":[1]}"}) {
    const json value = object("x", json::parse(spec));
    (void)BgpConfiguration::parse(value);
    (void)BgpPeer::parse(value);
    (void)BgpFilter::parse(value);
  }
  EXPECT_FALSE(BgpPeer::parse(json::parse("[]")));
}

}  // namespace
}  // namespace culvert::objects
