#include "cni/result_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cni/error.h"

namespace culvert::cni {
namespace {

using nlohmann::json;

IpConfig ip(const char* address, const char* gateway, std::optional<std::uint32_t> interface) {
  return {.address = *IpPrefix::parse(address),
          .gateway = IpAddress::parse(gateway),
          .interface = interface};
}

AddResult full() {
  Route route;
  route.dst = *IpPrefix::parse("0.0.0.0/0");
  route.gw = IpAddress::parse("10.1.2.1");
  route.mtuBytes = 1400;
  route.table = 100;
  return {.interfaces = {{.name = "eth0",
                          .mac = "0a:58:0a:16:00:02",
                          .mtuBytes = 1500,
                          .sandbox = "/run/netns/x",
                          .socketPath = "/run/s",
                          .pciId = "0000:04:00.5"}},
          .ips = {ip("10.1.2.3/24", "10.1.2.1", 0), ip("2001:db8::3/64", "", {})},
          .routes = {route},
          .dns = {.nameservers = {"10.1.2.1"}, .domain = "", .search = {}, .options = {}}};
}

json rendered(const AddResult& result, Version version) {
  return json::parse(*renderResult(result, version));
}

TEST(ResultJson, TheNewestVersionSaysEverything) {
  const json object = rendered(full(), Version::k110);
  EXPECT_EQ(object["interfaces"][0]["mtu"], 1500);
  EXPECT_EQ(object["interfaces"][0]["pciID"], "0000:04:00.5");
  EXPECT_EQ(object["ips"][0]["interface"], 0);
  EXPECT_FALSE(object["ips"][1].contains("interface"));
  EXPECT_EQ(object["routes"][0]["mtu"], 1400);
  EXPECT_FALSE(object["ips"][0].contains("version"));
}

TEST(ResultJson, OlderVersionsLeaveOutWhatTheyDoNotKnow) {
  const json v100 = rendered(full(), Version::k100);
  EXPECT_FALSE(v100["interfaces"][0].contains("mtu"));
  EXPECT_FALSE(v100["routes"][0].contains("table"));
  const json v040 = rendered(full(), Version::k040);
  EXPECT_EQ(v040["ips"][0]["version"], "4");
  EXPECT_EQ(v040["ips"][1]["version"], "6");
  EXPECT_EQ(rendered(AddResult{}, Version::k040)["dns"], json::object());
  EXPECT_FALSE(rendered(AddResult{}, Version::k100).contains("dns"));
}

TEST(ResultJson, TheFirstVersionsHoldOneAddressPerFamily) {
  const json object = rendered(full(), Version::k020);
  EXPECT_EQ(object["ip4"]["ip"], "10.1.2.3/24");
  EXPECT_EQ(object["ip4"]["gateway"], "10.1.2.1");
  EXPECT_EQ(object["ip4"]["routes"][0]["dst"], "0.0.0.0/0");
  EXPECT_EQ(object["ip6"]["ip"], "2001:db8::3/64");
  EXPECT_FALSE(object.contains("interfaces"));
}

TEST(ResultJson, WithoutAddressTheFirstVersionsCannotSayAnything) {
  const auto outcome = renderResult(
      {.interfaces = {{.name = "eth0"}}, .ips = {}, .routes = {}, .dns = {}}, Version::k010);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message, "cannot convert: no valid IP addresses");
}

TEST(ResultJson, EveryVersionReadsBackWhatItSays) {
  for (std::size_t i = 0; i < kVersionTexts.size(); ++i) {
    const auto version = static_cast<Version>(i);
    const std::string once = *renderResult(full(), version);
    const auto parsed = parseDelegateResult(once, Version::k010);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(*renderResult(*parsed, version), once);
  }
}

TEST(ResultJson, ADelegateMayOmitTheVersionOrEverything) {
  EXPECT_EQ(parseDelegateResult(R"({"ip4":{"ip":"10.0.0.1/24"}})", Version::k020)->ips.size(), 1U);
  EXPECT_EQ(*parseDelegateResult("null", Version::k100), AddResult{});
  EXPECT_EQ(*parseDelegateResult("", Version::k100), AddResult{});
  EXPECT_FALSE(parseDelegateResult(R"({"cniVersion":"7.0.0"})", Version::k100));
  EXPECT_FALSE(parseDelegateResult("junk", Version::k100));
}

TEST(ResultJson, ProblemsNameTheirPath) {
  Problems problems;
  const json object = json::parse(
      R"({"ips":[{"address":"10.0.0.1"},{"address":"10.0.0.2/24","interface":7}],"interfaces":[{"name":"a"}]})");
  static_cast<void>(parseResult(object, Version::k100, "prevResult", problems));
  const Result<void> outcome = problems.take();
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error().message.find("prevResult.ips[0].address"), std::string::npos);
  EXPECT_NE(outcome.error().message.find("prevResult.ips[1].interface"), std::string::npos);
}

TEST(DelegateError, KeepsCodeMessageAndDetails) {
  const Error error = parseDelegateError("dhcp", R"({"code":11,"msg":"no","details":"why"})", 1);
  EXPECT_EQ(wireCode(error), 11);
  EXPECT_EQ(error.message, "dhcp: no");
  EXPECT_EQ(error.details, "why");
  EXPECT_EQ(wireCode(parseDelegateError("dhcp", "panic", 2)), 5);
}

}  // namespace
}  // namespace culvert::cni
