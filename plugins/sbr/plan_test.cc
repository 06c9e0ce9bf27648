#include "plugins/sbr/plan.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <nlohmann/json.hpp>

#include "plugins/shared/tables.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::RouteSpec;

IpPrefix prefix(const char* text) {
  return *IpPrefix::parse(text);
}
IpAddress address(const char* text) {
  return *IpAddress::parse(text);
}

Result<SbrConfig> parse(const std::string& json) {
  cni::Request request;
  request.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
  return parseSbrConfig(request);
}

cni::IpConfig ip(const char* text, const char* gateway = nullptr) {
  return {.address = prefix(text),
          .gateway = gateway ? std::optional(address(gateway)) : std::nullopt,
          .interface = {}};
}

RouteSpec route(const char* dst, const char* gateway = nullptr, const char* source = nullptr) {
  RouteSpec spec;
  spec.dst = prefix(dst);
  spec.link = static_cast<IfIndex>(2);
  spec.table = RT_TABLE_MAIN;
  spec.scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  if (gateway) spec.gateway = address(gateway);
  if (source) spec.source = address(source);
  return spec;
}

const std::vector<RouteSpec> kRoutes{route("0.0.0.0/0", "10.1.0.1"),
                                     route("10.1.0.0/24", nullptr, "10.1.0.5"),
                                     route("10.9.0.0/16", "10.1.0.9")};

std::vector<std::string> texts(const std::vector<RouteSpec>& routes) {
  std::vector<std::string> list;
  for (const RouteSpec& one : routes)
    list.push_back(std::to_string(*one.table) + " " + one.dst.text() +
                   (one.gateway ? " via " + one.gateway->text() : ""));
  return list;
}

TEST(SbrConfig, GatewaysAreOneOfEachFamily) {
  const auto both = parse(R"({"gateways":["10.0.0.1","fd00::1"]})");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->gatewayV4, address("10.0.0.1"));
  EXPECT_EQ(both->gatewayV6, address("fd00::1"));
  for (const char* json : {R"({"gateways":["10.0.0.1","10.0.0.2"]})", R"({"gateways":["x"]})",
                           R"({"gateways":"10.0.0.1"})", R"({"table":0})", R"({"table":-1})",
                           R"({"table":4294967296})", R"({"addSourceHints":1})"}) {
    const auto config = parse(json);
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig);
  }
}

TEST(SbrPlan, EveryAddressHasATableOfItsOwnThatNobodyUses) {
  const cni::AddResult result{.ips = {ip("10.1.0.5/24", "10.1.0.1"), ip("10.1.0.6/24")}};
  const SbrPlan plan = planSbr({}, result, "eth0", kRoutes, {100, 102, 254});
  ASSERT_EQ(plan.rules.size(), 2U);
  EXPECT_EQ(plan.rules[0].table, 101U);
  EXPECT_EQ(plan.rules[0].source, prefix("10.1.0.5/32"));
  EXPECT_EQ(plan.rules[1].table, 103U);
}

TEST(SbrPlan, RoutesMoveAndWhatIsOnTheLinkComesFirst) {
  const cni::AddResult result{.ips = {ip("10.1.0.5/24", "10.1.0.1")}};
  const SbrPlan plan = planSbr({}, result, "eth0", kRoutes, {});
  EXPECT_EQ(texts(plan.added),
            (std::vector<std::string>{"100 10.1.0.0/24", "100 0.0.0.0/0 via 10.1.0.1",
                                      "100 10.9.0.0/16 via 10.1.0.9"}));
  EXPECT_EQ(plan.moved.size(), 3U);
}

TEST(SbrPlan, LinkLocalRoutesStayInTheMainTableAndAreInTheOthersToo) {
  const cni::AddResult result{.ips = {ip("fd01::5/64", "fd01::1")}};
  const SbrPlan plan = planSbr({}, result, "eth0", {route("fe80::/64"), route("fd01::/64")}, {});
  EXPECT_EQ(texts(plan.moved), (std::vector<std::string>{"254 fd01::/64"}));
  EXPECT_EQ(plan.added.size(), 3U);
}

TEST(SbrPlan, AGivenTableMovesNothing) {
  const cni::AddResult result{.ips = {ip("10.1.0.5/24", "10.1.0.1")}};
  const SbrPlan plan = planSbr({.table = 5000}, result, "eth0", kRoutes, {5000});
  EXPECT_EQ(plan.rules.at(0).table, 5000U);
  EXPECT_TRUE(plan.added.empty() && plan.moved.empty());
}

TEST(SbrPlan, OnlyAddressesOfTheInterfaceCount) {
  cni::AddResult result{.interfaces = {{.name = "veth0"}, {.name = "eth0"}},
                        .ips = {ip("10.1.0.5/24"), ip("10.2.0.5/24"), ip("10.3.0.5/24")}};
  result.ips[0].interface = 0;
  result.ips[1].interface = 1;
  const auto own = addressesOf(result, "eth0");
  ASSERT_EQ(own.size(), 2U);
  EXPECT_EQ(own[0].address, prefix("10.2.0.5/24"));
}

TEST(SbrPlan, AMissingGatewayIsFoundWhereOneIs) {
  const cni::IpConfig alone = ip("10.1.0.6/24");
  const cni::AddResult neighbour{.ips = {ip("10.1.0.5/24", "10.1.0.1"), alone}};
  const cni::AddResult routed{.ips = {alone},
                              .routes = {{.dst = prefix("0.0.0.0/0"), .gw = address("10.1.0.2")}}};
  const cni::AddResult bare{.ips = {alone}};
  EXPECT_EQ(gatewayOf(alone, {.gatewayV4 = address("10.1.0.9")}, neighbour, kRoutes),
            address("10.1.0.9"));
  EXPECT_EQ(gatewayOf(alone, {}, neighbour, kRoutes), address("10.1.0.1"));
  EXPECT_EQ(gatewayOf(alone, {}, routed, kRoutes), address("10.1.0.2"));
  EXPECT_EQ(gatewayOf(alone, {}, bare, kRoutes), address("10.1.0.1"));
  EXPECT_EQ(gatewayOf(alone, {}, bare, {}), std::nullopt);
}

TEST(SbrPlan, HintsKeepTheSubnetInTheMainTable) {
  const cni::AddResult result{.ips = {ip("10.1.0.5/24", "10.1.0.1")}};
  const SbrPlan plan = planSbr({.addSourceHints = true}, result, "eth0", kRoutes, {});
  ASSERT_EQ(plan.hints.size(), 1U);
  EXPECT_EQ(plan.hints[0].dst, prefix("10.1.0.0/24"));
  EXPECT_EQ(plan.hints[0].source, address("10.1.0.5"));
}

TEST(SbrPlan, SurvivesItsRecord) {
  const cni::AddResult result{.ips = {ip("10.1.0.5/24", "10.1.0.1")}};
  const SbrPlan plan = planSbr({.addSourceHints = true}, result, "eth0", kRoutes, {});
  Record record;
  record.details = plan.json(static_cast<IfIndex>(2));
  EXPECT_EQ(SbrPlan::from(record).json(SbrPlan::linkOf(record)), record.details);
  record.details = nlohmann::json::parse(R"({"rules":[{"from":"x"},7],"added":5})");
  EXPECT_TRUE(SbrPlan::from(record).rules.empty());
}

TEST(Tables, TheLowestFreeOneIsTaken) {
  std::set<std::uint32_t> used{1, 2, 253, 254, 255};
  EXPECT_EQ(takeFreeTable(used, 1), 3U);
  EXPECT_EQ(takeFreeTable(used, 1), 4U);
  EXPECT_EQ(takeFreeTable(used, 253), 256U);
}

}  // namespace
}  // namespace culvert::plugins
