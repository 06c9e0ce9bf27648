#include "daemons/objects/ip_pool.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

using nlohmann::json;

json pool(const std::string& spec) {
  return {{"metadata", {{"name", "p"}}}, {"spec", json::parse(spec)}};
}

IpPool good(const std::string& spec) {
  auto parsed = IpPool::parse(pool(spec));
  EXPECT_TRUE(parsed) << spec << ": " << (parsed ? "" : parsed.error().message);
  return parsed ? *parsed : IpPool();
}

TEST(IpPool, HasCalicosDefaults) {
  const IpPool v4 = good(R"({"cidr": "10.0.0.0/16"})");
  EXPECT_EQ(v4.blockLength, 26);
  EXPECT_EQ(v4.encapsulation, Encapsulation::kNone);
  EXPECT_EQ(v4.nodeSelector, "all()");
  EXPECT_TRUE(v4.automatic);
  EXPECT_FALSE(v4.natOutgoing);
  EXPECT_EQ(good(R"({"cidr": "fd00::/48"})").blockLength, 122);
}

TEST(IpPool, ReadsCalicosModesAndOurs) {
  const IpPool vxlan =
      good(R"({"cidr": "10.0.0.0/16", "vxlanMode": "CrossSubnet", "ipipMode": "Never"})");
  EXPECT_EQ(vxlan.encapsulation, Encapsulation::kVxlan);
  EXPECT_EQ(vxlan.mode, TunnelMode::kCrossSubnet);
  EXPECT_EQ(good(R"({"cidr": "10.0.0.0/16", "ipipMode": "Always"})").encapsulation,
            Encapsulation::kIpip);
  const IpPool l3 =
      good(R"({"cidr": "10.0.0.0/16", "encapsulation": "vxlan-l3", "tunnelMode": "Always"})");
  EXPECT_EQ(l3.encapsulation, Encapsulation::kVxlanL3);
  EXPECT_EQ(l3.mode, TunnelMode::kAlways);
  EXPECT_EQ(good(R"({"cidr": "10.0.0.0/16", "encapsulation": "vxlan-l3"})").mode,
            TunnelMode::kCrossSubnet);
}

struct Bad {
  const char* spec;
  const char* problem;
};

class BadPool : public testing::TestWithParam<Bad> {};

TEST_P(BadPool, IsRefusedWithItsField) {
  const auto parsed = IpPool::parse(pool(GetParam().spec));
  ASSERT_FALSE(parsed) << GetParam().spec;
  EXPECT_EQ(parsed.error().code, Errc::kInvalidConfig);
  EXPECT_NE(parsed.error().message.find(GetParam().problem), std::string::npos)
      << parsed.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Fields, BadPool,
    testing::Values(
        Bad{"{}", "spec.cidr: missing"}, Bad{R"({"cidr": "10.0.0.1/16"})", "host bits"},
        Bad{R"({"cidr": "10.0.0.0"})", "spec.cidr"}, Bad{R"({"cidr": 7})", "spec.cidr"},
        Bad{R"({"cidr": "169.254.1.0/24"})", "pods cannot have"},
        Bad{R"({"cidr": "fe80::/16"})", "pods cannot have"},
        Bad{R"({"cidr": "10.0.0.0/16", "blockSize": 19})", "spec.blockSize"},
        Bad{R"({"cidr": "10.0.0.0/16", "blockSize": 33})", "spec.blockSize"},
        Bad{R"({"cidr": "fd00::/48", "blockSize": 26})", "spec.blockSize"},
        Bad{R"({"cidr": "10.0.0.0/28"})", "do not fit"},
        Bad{R"({"cidr": "10.0.0.0/16", "vxlanMode": "Sometimes"})", "spec.vxlanMode"},
        Bad{R"({"cidr": "10.0.0.0/16", "vxlanMode": "Always", "ipipMode": "Always"})",
            "cannot both"},
        Bad{R"({"cidr": "10.0.0.0/16", "encapsulation": "gre"})", "spec.encapsulation"},
        Bad{R"({"cidr": "10.0.0.0/16", "encapsulation": "vxlan", "vxlanMode": "Always"})",
            "cannot be used with"},
        Bad{R"({"cidr": "10.0.0.0/16", "tunnelMode": "Always"})", "needs encapsulation"},
        Bad{R"({"cidr": "10.0.0.0/16", "assignmentMode": "x"})", "spec.assignmentMode"},
        Bad{R"({"cidr": "10.0.0.0/16", "natOutgoing": "yes"})", "spec.natOutgoing"}));

TEST(IpPool, SurvivesTheStateFile) {
  const IpPool one = good(
      R"({"cidr": "10.0.0.0/16", "vxlanMode": "Always", "natOutgoing": true, "blockSize": 24})");
  EXPECT_EQ(one, *IpPool::parse(one.toJson()));
  const IpPool none =
      good(R"({"cidr": "fd00::/48", "disabled": true, "assignmentMode": "Manual"})");
  EXPECT_EQ(none, *IpPool::parse(none.toJson()));
}

TEST(AddressBlock, CanBeTakenOnlyOnce) {
  const json block = {{"metadata", {{"name", "10-0-1-0-26"}}},
                      {"spec", {{"cidr", "10.0.1.0/26"}, {"node", "a"}, {"pool", "p"}}}};
  const auto parsed = AddressBlock::parse(block);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, *AddressBlock::parse(parsed->toJson()));
  json other = block;
  other["metadata"]["name"] = "mine";
  EXPECT_NE(AddressBlock::parse(other).error().message.find("must be 10-0-1-0-26"),
            std::string::npos);
}

TEST(AddressBlock, NamesAreWhatTheApiServerTakes) {
  EXPECT_EQ(blockName(*IpPrefix::parse("10.42.3.0/26")), "10-42-3-0-26");
  EXPECT_EQ(blockName(*IpPrefix::parse("fd00:42::1:0/122")), "fd00-42--1-0-122");
  EXPECT_EQ(blockName(*IpPrefix::parse("::1:0:0/122")), "0--1-0-0-122");
}

}  // namespace
}  // namespace culvert::objects
