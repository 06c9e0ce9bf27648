#include "ipam/static/static.h"

#include <gmock/gmock.h>

#include "ipam/test_util.h"

namespace culvert::ipam {
namespace {

using cni::Command;
using nlohmann::json;
using testing::errorOf;
using ::testing::HasSubstr;
using testing::makeRequest;

constexpr const char* kDual = R"({"ipam": {"type": "static",
    "addresses": [{"address": "10.10.0.1/24", "gateway": "10.10.0.254"},
                  {"address": "3ffe:ffff:0:01ff::1/64", "gateway": "3ffe:ffff:0::1"}],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.5.1", "table": 100},
               {"dst": "192.168.0.0/16", "gw": "10.10.5.2"}],
    "dns": {"nameservers": ["8.8.8.8"], "domain": "example.com", "search": ["example.com"],
            "options": ["ndots:1"]}}})";

Result<cni::AddResult> add(const json& config, const std::string& args = {}) {
  return kStatic.add(makeRequest(kStatic, Command::kAdd, config, {.args = args}));
}

/// "address via gateway" of each address, or the error's text.
std::string addText(const json& config, const std::string& args = {}) {
  const auto result = add(config, args);
  if (!result) return result.error().message;
  std::string text;
  for (const cni::IpConfig& ip : result->ips) {
    text += (text.empty() ? "" : ", ") + ip.address.text();
    if (ip.gateway) text += " via " + ip.gateway->text();
  }
  return text;
}

json withAddress(const char* address) {
  return {{"ipam", {{"addresses", json::array({{{"address", address}}})}}}};
}

Result<void> check(json config, const char* prevResult) {
  if (prevResult != nullptr) config["prevResult"] = json::parse(prevResult);
  return kStatic.check(makeRequest(kStatic, Command::kCheck, config));
}

TEST(Static, GivesWhatTheConfigurationSays) {
  const auto result = add(json::parse(kDual));
  ASSERT_TRUE(result) << errorOf(result);
  EXPECT_EQ(addText(json::parse(kDual)),
            "10.10.0.1/24 via 10.10.0.254, 3ffe:ffff:0:1ff::1/64 via 3ffe:ffff::1");
  ASSERT_EQ(result->routes.size(), 3U) << "both ways to the same destination";
  EXPECT_EQ(result->routes[1].table, 100U);
  EXPECT_EQ(result->dns.domain, "example.com");
  EXPECT_EQ(result->dns.options, std::vector<std::string>{"ndots:1"});
  EXPECT_TRUE(result->interfaces.empty());
}

TEST(Static, AddsTheAddressesOfCniArgsAndMatchesTheirGateways) {
  EXPECT_EQ(
      addText(
          withAddress("10.10.0.1/24"),
          "IgnoreUnknown=1;IP=10.20.0.1/24, 2001:db8::1/64;GATEWAY=10.20.0.254,10.10.0.254;X=y"),
      "10.10.0.1/24 via 10.10.0.254, 10.20.0.1/24 via 10.20.0.254, 2001:db8::1/64");
  EXPECT_EQ(addText({{"ipam", json::object()}}, "IP=10.20.0.1/24"), "10.20.0.1/24");
}

TEST(Static, TheRuntimesAddressesWinOverArgsAndThoseOverCniArgs) {
  json config = withAddress("10.10.0.1/24");
  config["args"]["cni"]["ips"] = {"10.11.0.1/24", "11.11.0.1/24"};
  EXPECT_EQ(addText(config, "IP=10.20.0.1/24"), "10.11.0.1/24, 11.11.0.1/24");
  config["runtimeConfig"]["ips"] = {"10.12.0.1/24"};
  EXPECT_EQ(addText(config, "IP=10.20.0.1/24"), "10.12.0.1/24");
}

TEST(Static, NeedsItsKeyWhateverElseIsGiven) {
  json config{{"args", {{"cni", {{"ips", {"10.11.0.1/24"}}}}}},
              {"runtimeConfig", {{"ips", {"10.12.0.1/24"}}}}};
  EXPECT_EQ(addText(config), "ipam: IPAM config missing 'ipam' key");
}

TEST(Static, NamesWhatIsNotInCidrNotationInEachSource) {
  EXPECT_EQ(addText(withAddress("10.10.0.1")),
            "ipam.addresses[0].address: the 'address' field is expected to be in CIDR notation, "
            "got: '10.10.0.1'");
  json args = withAddress("10.10.0.1/24");
  args["args"]["cni"]["ips"] = {"10.10.0.2/24", "10.10.0.3"};
  EXPECT_EQ(
      addText(args),
      "args.cni.ips[1]: an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.3'");
  json runtime = withAddress("10.10.0.1/24");
  runtime["runtimeConfig"]["ips"] = {"10.10.0.1/33"};
  EXPECT_THAT(addText(runtime), HasSubstr("runtimeConfig.ips[0]: "));
  const auto fromArgs = add(withAddress("10.10.0.1/24"), "IP=10.20.0.1");
  ASSERT_FALSE(fromArgs);
  EXPECT_EQ(fromArgs.error().code, Errc::kInvalidEnvironment);
  EXPECT_THAT(fromArgs.error().message,
              HasSubstr("the 'ip' field is expected to be in CIDR notation, got: '10.20.0.1'"));
}

TEST(Static, NamesAGatewayThatIsNone) {
  EXPECT_THAT(addText(withAddress("10.10.0.1/24"), "GATEWAY=10.20.0.1,ten"),
              HasSubstr("invalid gateway address: 'ten'"));
  json config = withAddress("10.10.0.1/24");
  config["ipam"]["addresses"][0]["gateway"] = "ten";
  EXPECT_THAT(addText(config), HasSubstr(R"(ipam.addresses[0].gateway: "ten")"));
}

TEST(Static, OldVersionsHoldOneAddressPerFamily) {
  json config = json::parse(kDual);
  config["cniVersion"] = "0.2.0";
  EXPECT_TRUE(add(config));
  config["ipam"]["addresses"].push_back({{"address", "10.11.0.1/24"}});
  EXPECT_THAT(addText(config), HasSubstr("does not support more than 1 address per family"));
}

TEST(Static, CheckComparesAddressesAndGateways) {
  const json config = json::parse(kDual);
  EXPECT_TRUE(check(config, R"({"ips": [{"address": "172.16.0.1/16"},
      {"address": "3ffe:ffff:0:1ff::1/64", "gateway": "3ffe:ffff::1"},
      {"address": "10.10.0.1/24", "gateway": "10.10.0.254"}]})"));
  const auto wrong =
      check(config, R"({"ips": [{"address": "10.10.0.1/24", "gateway": "10.10.0.253"}]})");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::kCheckFailed);
  EXPECT_EQ(wrong.error().message,
            "static: 10.10.0.1/24 has gateway 10.10.0.253 in prevResult instead of 10.10.0.254; "
            "3ffe:ffff:0:1ff::1/64 is not in prevResult");
}

TEST(Static, CheckFailsOnAnAbsentAddressOrAnotherPrefix) {
  const json config = withAddress("10.10.0.1/24");
  EXPECT_TRUE(check(config, R"({"ips": [{"address": "10.10.0.1/24", "gateway": "10.10.0.9"}]})"));
  EXPECT_FALSE(check(config, R"({"ips": []})"));
  EXPECT_FALSE(check(config, R"({"ips": [{"address": "10.10.0.1/16"}]})"));
  EXPECT_FALSE(check(config, nullptr));
}

TEST(Static, DelAndGcHaveNothingToDoWhateverTheConfiguration) {
  const json broken{{"ipam", {{"addresses", "nonsense"}}}};
  EXPECT_TRUE(kStatic.del(makeRequest(kStatic, Command::kDel, broken)));
  EXPECT_TRUE(kStatic.gc(makeRequest(kStatic, Command::kGc, broken)));
}

TEST(Static, StatusReportsABadConfiguration) {
  EXPECT_TRUE(kStatic.status(makeRequest(kStatic, Command::kStatus, json::parse(kDual))));
  EXPECT_FALSE(kStatic.status(makeRequest(kStatic, Command::kStatus, withAddress("nonsense"))));
}

}  // namespace
}  // namespace culvert::ipam
