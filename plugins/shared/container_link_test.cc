#include "plugins/shared/container_link.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plugins/dummy/dummy.h"
#include "plugins/ipvlan/ipvlan.h"
#include "plugins/macvlan/macvlan.h"
#include "plugins/tap/tap.h"
#include "plugins/vlan/vlan.h"

namespace culvert::plugins {
namespace {

using netlink::Ipvlan;
using netlink::Macvlan;

cni::Request request(const std::string& json, const std::string& args = "") {
  cni::Request request;
  request.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
  request.args = args;
  return request;
}

cni::AddResult previous(std::initializer_list<const char*> interfaces, const char* address) {
  cni::AddResult result;
  for (const char* name : interfaces) {
    result.interfaces.emplace_back();
    result.interfaces.back().name = name;
  }
  if (address != nullptr) {
    result.ips.emplace_back();
    result.ips.back().address = *IpPrefix::parse(address);
  }
  return result;
}

TEST(MacvlanConfig, DefaultsAreTheReferences) {
  const auto config = parseMacvlanConfig(request("{}"));
  ASSERT_TRUE(config);
  EXPECT_EQ(config->macvlan, Macvlan{});
  EXPECT_EQ(config->macvlan.mode, Macvlan::Mode::kBridge);
  EXPECT_TRUE(config->link.master->name.empty() && !config->link.master->inContainer);
  EXPECT_TRUE(config->link.ipamType.empty() && !config->link.mac);
  EXPECT_TRUE(config->link.dns && config->link.dns->empty()) << "it replaces IPAM's all the same";
}

TEST(MacvlanConfig, EveryKeyIsRead) {
  const auto config = parseMacvlanConfig(request(
      R"({"master":"up0","mode":"passthru","MTU":1400,"mac":"02:00:00:00:00:01","linkInContainer":true,
          "bcqueuelen":4294967295,"ipam":{"type":"dhcp"},"dns":{"domain":"a.example"}})"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->macvlan.mode, Macvlan::Mode::kPassthru);
  EXPECT_EQ(config->macvlan.broadcastQueue, 4294967295U);
  EXPECT_TRUE(config->link.master->name == "up0" && config->link.master->inContainer);
  EXPECT_EQ(config->link.mtuBytes, 1400U);
  EXPECT_EQ(config->link.mac->text(), "02:00:00:00:00:01");
  EXPECT_EQ(config->link.ipamType, "dhcp");
  EXPECT_EQ(config->link.dns->domain, "a.example");
}

TEST(MacvlanConfig, TheRuntimesMacWins) {
  const std::string json = R"({"mac":"02:00:00:00:00:01")";
  const std::string env = "MAC=02:00:00:00:00:02";
  EXPECT_EQ(parseMacvlanConfig(request(json + "}", env))->link.mac->text(), "02:00:00:00:00:02");
  const auto runtime =
      parseMacvlanConfig(request(json + R"(,"runtimeConfig":{"mac":"02:00:00:00:00:03"}})", env));
  EXPECT_EQ(runtime->link.mac->text(), "02:00:00:00:00:03");
}

TEST(MacvlanConfig, EverythingWrongIsNamedAtOnce) {
  const auto config = parseMacvlanConfig(request(
      R"({"mode":"source","master":"a/b","mtu":67,"mac":"01:00:00:00:00:01","bcqueuelen":-1})"));
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Errc::kInvalidConfig);
  for (const char* key : {"mode", "master", "mtu", "mac", "bcqueuelen"})
    EXPECT_NE(config.error().message.find(key), std::string::npos) << key;
}

TEST(IpvlanConfig, ModesAreTheReferences) {
  EXPECT_EQ(parseIpvlanConfig(request("{}"))->ipvlan.mode, Ipvlan::Mode::kL2);
  EXPECT_EQ(parseIpvlanConfig(request(R"({"mode":"l3"})"))->ipvlan.mode, Ipvlan::Mode::kL3);
  EXPECT_EQ(parseIpvlanConfig(request(R"({"mode":"l3s"})"))->ipvlan.mode, Ipvlan::Mode::kL3s);
  EXPECT_FALSE(parseIpvlanConfig(request(R"({"mode":"L2"})")));
}

TEST(IpvlanConfig, TheChainGivesMasterAndAddressesWhereTheConfigurationDoesNot) {
  cni::Request chained = request("{}");
  chained.prevResult = previous({"eth1"}, "10.1.1.5/24");
  auto config = parseIpvlanForAdd(chained);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->link.master->name, "eth1");
  EXPECT_EQ(config->link.given->ips.size(), 1U);

  chained = request(R"({"master":"up0","ipam":{"type":"static"}})");
  chained.prevResult = previous({"eth1", "eth2"}, nullptr);
  config = parseIpvlanForAdd(chained);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->link.master->name, "up0");
  EXPECT_FALSE(config->link.given);
}

TEST(IpvlanConfig, AChainThatDoesNotSayEnoughIsRefused) {
  cni::Request chained = request("{}");
  EXPECT_FALSE(parseIpvlanForAdd(chained)) << "neither ipam nor prevResult";
  chained.prevResult = previous({"eth1", "eth2"}, "10.1.1.5/24");
  EXPECT_FALSE(parseIpvlanForAdd(chained)) << "two interfaces";
  chained.prevResult = previous({"eth1"}, nullptr);
  EXPECT_FALSE(parseIpvlanForAdd(chained)) << "no address";
}

TEST(VlanConfig, TheWholeRangeAndNothingElse) {
  const std::string rest = R"(,"master":"up0","ipam":{"type":"static"}})";
  EXPECT_EQ(parseVlanConfig(request(R"({"mtu":0)" + rest))->vlan.id, 0);
  EXPECT_EQ(parseVlanConfig(request(R"({"vlanId":4094)" + rest))->vlan.id, 4094);
  for (const char* id : {"-1", "4095", "1.5", "\"7\""})
    EXPECT_FALSE(parseVlanConfig(request(R"({"vlanId":)" + std::string(id) + rest))) << id;
}

TEST(VlanConfig, MasterAndIpamAreRequired) {
  const auto config = parseVlanConfig(request(R"({"vlanId":7})"));
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().message.find("master"), std::string::npos);
  EXPECT_NE(config.error().message.find("ipam"), std::string::npos);
}

TEST(DummyConfig, IpamIsRequiredAndItsDnsKept) {
  EXPECT_FALSE(parseDummyConfig(request("{}")));
  const auto config = parseDummyConfig(request(R"({"ipam":{"type":"static"},"mtu":1})"));
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->dns);
  EXPECT_EQ(config->mtuBytes, 0U) << "no key of dummy's";
}

TEST(TapConfig, OwnerAndGroupMayBeAbsentOrRoot) {
  const auto none = parseTapConfig(request("{}"));
  EXPECT_TRUE(none && !none->tap.owner && !none->tap.group && !none->tap.multiQueue);
  const auto root = parseTapConfig(request(
      R"({"owner":0,"group":4294967294,"multiQueue":true,"bridge":"br0","selinuxContext":"a:b"})"));
  ASSERT_TRUE(root) << root.error().message;
  EXPECT_EQ(root->tap.owner, 0U);
  EXPECT_EQ(root->tap.group, 4294967294U);
  EXPECT_TRUE(root->tap.multiQueue && root->bridge == "br0" && root->tap.selinuxContext == "a:b");
  EXPECT_FALSE(parseTapConfig(request(R"({"owner":4294967295})")));
}

}  // namespace
}  // namespace culvert::plugins
