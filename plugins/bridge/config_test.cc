#include "plugins/bridge/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace culvert::plugins {
namespace {

Result<BridgeConfig> parse(const std::string& json, const std::string& args = "") {
  cni::Request request;
  request.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
  request.args = args;
  return parseBridgeConfig(request);
}

TEST(BridgeConfig, DefaultsAreTheReferences) {
  const auto config = parse("{}");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->bridge, "cni0");
  EXPECT_FALSE(config->isGateway || config->ipMasq || config->hairpinMode || config->usesVlans());
  EXPECT_EQ(config->mtuBytes, 0U);
  EXPECT_FALSE(config->dns);
}

TEST(BridgeConfig, ADefaultGatewayIsAGateway) {
  EXPECT_TRUE(parse(R"({"isDefaultGateway":true})")->isGateway);
}

TEST(BridgeConfig, TheTrunkTakesIdsAndRanges) {
  const auto config =
      parse(R"({"vlanTrunk":[{"id":101},{"minID":200,"maxID":210},{"id":5,"minID":7,"maxID":7}]})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->trunk, (std::vector<netlink::PortVlan>{{.first = 101, .last = 101},
                                                           {.first = 200, .last = 210},
                                                           {.first = 7, .last = 7},
                                                           {.first = 5, .last = 5}}));
}

TEST(BridgeConfig, BadVlansAreRefused) {
  for (const char* json : {R"({"vlan":-100})", R"({"vlan":5000})", R"({"vlanTrunk":[{"minID":1}]})",
                           R"({"vlanTrunk":[{"maxID":1}]})", R"({"vlanTrunk":[{"id":-1}]})",
                           R"({"vlanTrunk":[{"id":4095}]})", R"({"vlanTrunk":[{"id":0}]})",
                           R"({"vlanTrunk":[{"minID":9,"maxID":8}]})", R"({"vlanTrunk":5})"}) {
    const auto config = parse(json);
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig);
  }
}

TEST(BridgeConfig, ContradictionsAreRefusedTogether) {
  const auto config = parse(
      R"({"hairpinMode":true,"promiscMode":true,"disableContainerInterface":true,"ipam":{"type":"host-local"}})");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().message.find("promiscMode"), std::string::npos);
  EXPECT_NE(config.error().message.find("disableContainerInterface"), std::string::npos);
}

TEST(BridgeConfig, TheGatewaysInterfaceMustHaveRoomForItsName) {
  EXPECT_FALSE(parse(R"({"bridge":"longbridgename","vlan":100,"isGateway":true})"));
  EXPECT_TRUE(parse(R"({"bridge":"longbridgename","vlan":100})"));
}

TEST(BridgeConfig, BridgeNamesAreInterfaceNames) {
  for (const char* name : {"..", "a/b", "a b", "a:b", "sixteen-bytes-xx"}) {
    EXPECT_FALSE(parse(R"({"bridge":")" + std::string(name) + "\"}")) << name;
  }
}

TEST(BridgeConfig, TheMacOfTheRuntimeWins) {
  const std::string json =
      R"({"args":{"cni":{"mac":"02:00:00:00:00:02"}},"runtimeConfig":{"mac":"02:00:00:00:00:03"}})";
  EXPECT_EQ(parse("{}", "MAC=02:00:00:00:00:01")->mac->text(), "02:00:00:00:00:01");
  EXPECT_EQ(parse(R"({"args":{"cni":{"mac":"02:00:00:00:00:02"}}})", "MAC=02:00:00:00:00:01")
                ->mac->text(),
            "02:00:00:00:00:02");
  EXPECT_EQ(parse(json, "MAC=02:00:00:00:00:01")->mac->text(), "02:00:00:00:00:03");
  EXPECT_FALSE(parse("{}", "MAC=01:00:00:00:00:01")) << "a group address";
}

TEST(BridgeConfig, AnyDnsKeyReplacesIpams) {
  EXPECT_TRUE(parse(R"({"dns":{"nameservers":[]}})")->dns);
  EXPECT_FALSE(parse(R"({"dns":{}})")->dns);
}

TEST(BridgeConfig, TheMasqueradeBackendIsOneOfTwo) {
  EXPECT_TRUE(parse(R"({"ipMasq":true,"ipMasqBackend":"iptables"})"));
  EXPECT_FALSE(parse(R"({"ipMasq":true,"ipMasqBackend":"ebtables"})"));
}

}  // namespace
}  // namespace culvert::plugins
