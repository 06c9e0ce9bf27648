#include "plugins/multi/network.h"

#include <gtest/gtest.h>

namespace culvert::plugins::multi {
namespace {

using nlohmann::json;

Result<Network> parse(std::string_view text) {
  return parseNetworkText(text, {.name = "fallback", .version = cni::Version::k100}, "wire");
}

Selection selecting(json runtimeConfig) {
  Selection selection;
  selection.name = "wire";
  selection.runtimeConfig = std::move(runtimeConfig);
  return selection;
}

TEST(Network, AListAndASinglePluginAreTheSame) {
  const auto list = parse(
      R"({"cniVersion":"1.1.0","name":"n","disableCheck":"true","plugins":[{"type":"ptp"}]})");
  ASSERT_TRUE(list) << list.error().message;
  EXPECT_EQ(list->name, "n");
  EXPECT_EQ(list->version, cni::Version::k110);
  EXPECT_TRUE(list->disableCheck);
  EXPECT_FALSE(list->disableGc);
  const auto single = parse(R"({"type":"ptp","mtu":1400})");
  ASSERT_TRUE(single) << single.error().message;
  EXPECT_EQ(single->name, "fallback");
  EXPECT_EQ(single->version, cni::Version::k100);
  EXPECT_EQ(single->plugins.at(0).at("mtu"), 1400);
}

TEST(Network, OfSeveralVersionsTheNewestCounts) {
  EXPECT_EQ(parse(R"({"cniVersion":"0.4.0","cniVersions":["0.3.1","1.1.0","9.0.0"],"type":"x"})")
                ->version,
            cni::Version::k110);
}

TEST(Network, BadListsAreRefused) {
  for (const char* text :
       {"", "{", "[]", "7", "{}", R"({"plugins":[]})", R"({"plugins":7})", R"({"plugins":[{}]})",
        R"({"plugins":[7]})", R"({"type":"a/b"})", R"({"type":7})", R"({"type":"multi"})",
        R"({"plugins":[{"type":"ptp"},{"type":"multi"}]})", R"({"type":"x","name":"../y"})",
        R"({"type":"x","cniVersion":"9.0.0"})", R"({"type":"x","disableGC":"maybe"})"}) {
    const auto network = parse(text);
    ASSERT_FALSE(network) << text;
    EXPECT_EQ(network.error().code, Errc::kInvalidConfig) << text;
    EXPECT_EQ(network.error().message.find("wire"), 0U) << network.error().message;
  }
}

TEST(Network, CapabilitiesDecideWhoGetsWhat) {
  Network network = *parse(R"({"name":"n","plugins":[
      {"type":"a","capabilities":{"mac":true,"ips":false}},{"type":"b","capabilities":{"ips":true},
       "runtimeConfig":{"kept":1}}]})");
  ASSERT_TRUE(applySelection(
      network, selecting({{"mac", "02:00:00:00:00:01"}, {"ips", {"10.0.0.1"}}}), "x"));
  EXPECT_EQ(network.plugins[0]["runtimeConfig"], json({{"mac", "02:00:00:00:00:01"}}));
  EXPECT_EQ(network.plugins[1]["runtimeConfig"], json({{"kept", 1}, {"ips", {"10.0.0.1"}}}));
  EXPECT_EQ(network.plugins[1]["name"], "n");
  EXPECT_EQ(network.plugins[1]["cniVersion"], "1.0.0");
}

TEST(Network, AWishWithoutCapabilityIsRefused) {
  Network network = *parse(R"({"type":"a","capabilities":{"mac":"yes"}})");
  const auto outcome = applySelection(network, selecting({{"mac", "x"}}), "networks[3]");
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error().message.find("networks[3]: mac"), std::string::npos);
}

TEST(Network, CniArgsGoOverTheDefinitionsOwn) {
  Network network = *parse(R"({"type":"a","args":{"cni":{"a":1,"b":1},"other":1}})");
  Selection selection = selecting(json::object());
  selection.cniArgs = {{"b", 2}, {"c", 2}};
  ASSERT_TRUE(applySelection(network, selection, "x"));
  EXPECT_EQ(network.plugins[0]["args"], json::parse(R"({"cni":{"a":1,"b":2,"c":2},"other":1})"));
}

TEST(Network, ADeviceIsToldInAllWays) {
  Network network = *parse(R"({"type":"a","capabilities":{"deviceID":true}})");
  Selection selection = selecting(json::object());
  selection.device = "0000:01:00.1";
  ASSERT_TRUE(applySelection(network, selection, "x"));
  const json& plugin = network.plugins[0];
  EXPECT_EQ(plugin["deviceID"], "0000:01:00.1");
  EXPECT_EQ(plugin["pciBusID"], "0000:01:00.1");
  EXPECT_EQ(plugin["runtimeConfig"]["deviceID"], "0000:01:00.1");
}

TEST(Network, OthersDoNotGetTheArgumentsOfOneInterface) {
  EXPECT_EQ(argsForOthers("IgnoreUnknown=1;IP=10.0.0.1;MAC=x;GATEWAY=y;K8S_POD_NAME=p;IPX=1"),
            "IgnoreUnknown=1;K8S_POD_NAME=p;IPX=1");
  EXPECT_EQ(argsForOthers(""), "");
  EXPECT_EQ(argsForOthers("IP=1"), "");
}

TEST(Network, AnAttachmentSurvivesItsRecord) {
  Attachment attachment;
  attachment.name = "lab/wire";
  attachment.ifName = "net1";
  attachment.args = "A=1";
  attachment.defaultRoute = {*IpAddress::parse("10.0.0.1")};
  attachment.network =
      *parse(R"({"name":"n","disableGC":true,"plugins":[{"type":"a"},{"type":"b"}]})");
  attachment.result.emplace();
  attachment.result->ips.push_back({.address = *IpPrefix::parse("10.0.0.2/24")});
  const auto back = attachmentFrom(toJson(attachment));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(toJson(*back), toJson(attachment));
  EXPECT_TRUE(back->network.disableGc);
  EXPECT_EQ(*back->result, *attachment.result);
  for (const char* text :
       {"{}", "[]", "7", R"({"interface":"a/b","network":"n","plugins":[{"type":"x"}]})"})
    EXPECT_EQ(attachmentFrom(json::parse(text)).error().code, Errc::kDecode) << text;
}

}  // namespace
}  // namespace culvert::plugins::multi
