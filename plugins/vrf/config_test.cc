#include "plugins/vrf/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plugins/vrf/member.h"

namespace culvert::plugins {
namespace {

Result<VrfConfig> parse(const std::string& json) {
  cni::Request request;
  request.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
  request.ifName = "eth0";
  return parseVrfConfig(request);
}

TEST(VrfConfig, TheTableIsOptional) {
  EXPECT_EQ(parse(R"({"vrfname":"blue"})")->table, 0U);
  EXPECT_EQ(parse(R"({"vrfname":"blue","table":4294967295})")->table, 4294967295U);
}

TEST(VrfConfig, BadValuesAreRefused) {
  for (const char* json :
       {"{}", R"({"vrfname":""})", R"({"vrfname":7})", R"({"vrfname":"a/b"})",
        R"({"vrfname":"averylongvrfname"})", R"({"vrfname":"eth0"})",
        R"({"vrfname":"blue","table":-1})", R"({"vrfname":"blue","table":4294967296})",
        R"({"vrfname":"blue","table":"main"})"}) {
    const auto config = parse(json);
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig) << json;
  }
}

TEST(VrfBelongings, SurviveTheirRecord) {
  Belongings own;
  own.addresses = {{.prefix = *IpPrefix::parse("fd00::5/64"), .connectedRoute = false}};
  netlink::RouteSpec route;
  route.dst = *IpPrefix::parse("0.0.0.0/0");
  route.gateway = IpAddress::parse("10.0.0.1");
  route.priority = 5;
  own.routes = {route};
  const nlohmann::json json = own.json();
  cni::Problems problems;
  const cni::ConfigReader reader(json, "", problems);
  EXPECT_EQ(Belongings::from(reader, netlink::IfIndex::kNone).json(), json);
}

}  // namespace
}  // namespace culvert::plugins
