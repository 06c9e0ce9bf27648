#include "plugins/tuning/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "plugins/tuning/allowlist.h"
#include "plugins/tuning/backup.h"

namespace culvert::plugins {
namespace {

Result<TuningConfig> parse(const std::string& json, const std::string& args = "",
                           const std::string& ifName = "eth0") {
  cni::Request request;
  request.rawConfig = json;
  request.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
  request.args = args;
  request.ifName = ifName;
  return parseTuningConfig(request);
}

std::string pathOf(const std::string& key, const std::string& ifName = "eth0") {
  const auto config = parse(nlohmann::json{{"sysctl", {{key, "1"}}}}.dump(), "", ifName);
  return config ? config->sysctls.at(0).path : "refused";
}

TEST(TuningConfig, NothingConfiguredChangesNothing) {
  const auto config = parse("{}");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->sysctls.empty() && TuningBackup{.link = config->link}.empty());
  EXPECT_EQ(config->dataDir, "/run/cni/tuning");
}

TEST(TuningConfig, TheMacOfArgsOverridesTheRuntimesAndThatTheEnvironments) {
  const std::string runtime =
      R"("mac":"02:00:00:00:00:01","runtimeConfig":{"mac":"02:00:00:00:00:03"})";
  const auto macOf = [](const Result<TuningConfig>& config) { return config->link.mac->text(); };
  const std::string env = "MAC=02:00:00:00:00:02";
  EXPECT_EQ(macOf(parse(R"({"mac":"02:00:00:00:00:01"})")), "02:00:00:00:00:01");
  EXPECT_EQ(macOf(parse(R"({"mac":"02:00:00:00:00:01"})", env)), "02:00:00:00:00:02");
  EXPECT_EQ(macOf(parse("{" + runtime + "}", env)), "02:00:00:00:00:03");
  EXPECT_EQ(macOf(parse("{" + runtime + R"(,"args":{"cni":{"mac":"02:00:00:00:00:04"}}})", env)),
            "02:00:00:00:00:04");
}

TEST(TuningConfig, ArgsOverrideEveryKey) {
  const auto config = parse(R"({"mtu":1400,"promisc":true,"allmulti":true,"txQLen":10,
      "sysctl":{"net.core.somaxconn":"1","net.ipv4.ip_forward":"0"},
      "args":{"cni":{"mtu":0,"promisc":false,"allmulti":false,"txQLen":0,
                     "sysctl":{"net/core/somaxconn":"2"}}}})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_FALSE(config->link.mtuBytes);
  EXPECT_EQ(config->link.promiscuous, false);
  EXPECT_EQ(config->link.allMulticast, false);
  EXPECT_EQ(config->link.txQueueLength, 0U);
  ASSERT_EQ(config->sysctls.size(), 2U);
  EXPECT_EQ(config->sysctls[0].value, "2");
}

TEST(TuningConfig, SysctlsOfArgsAloneAreTaken) {
  const auto config = parse(R"({"args":{"cni":{"sysctl":{"net.core.somaxconn":"500"}}}})");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->sysctls.at(0).path, "core/somaxconn");
}

TEST(TuningConfig, TheInterfacesNameReplacesIfname) {
  EXPECT_EQ(pathOf("net.ipv4.conf.IFNAME.arp_filter"), "ipv4/conf/eth0/arp_filter");
  EXPECT_EQ(pathOf("net.ipv4.conf.IFNAME.arp_filter", "eth0.7"), "ipv4/conf/eth0.7/arp_filter");
  EXPECT_EQ(pathOf("net/ipv4/conf/eth0.7/arp_filter"), "ipv4/conf/eth0.7/arp_filter");
}

TEST(TuningConfig, OnlyTheInterfacesOwnSysctlsAreRestored) {
  const auto config =
      parse(R"({"sysctl":{"net.core.somaxconn":"1","net.ipv4.conf.IFNAME.arp_filter":"1"}})");
  EXPECT_FALSE(config->sysctls.at(0).ofInterface);
  EXPECT_TRUE(config->sysctls.at(1).ofInterface);
}

TEST(TuningConfig, NothingOutsideNetIsReached) {
  for (const char* key :
       {"kernel.hostname", "net", "net.", "net/../kernel/hostname", "/net/core/x", "net/./core/x",
        "net//core/x", "net..core", "net.core.somaxconn/../../kernel",
        "net/ipv4/conf/../../../kernel/core_pattern", "", ".", "net/a b", "net/\n"}) {
    EXPECT_EQ(pathOf(key), "refused") << key;
  }
  EXPECT_EQ(pathOf(std::string("net/\0", 5)), "refused");
  EXPECT_EQ(pathOf("net." + std::string(300, 'a')), "refused");
}

TEST(TuningConfig, ASysctlStandsOnlyOnce) {
  EXPECT_FALSE(parse(R"({"sysctl":{"net.core.somaxconn":"1","net.core.somaxconn":"2"}})"));
  EXPECT_FALSE(parse(R"({"SysCtl":{"net.core.somaxconn":"1","net.core.somaxconn":"1"}})"));
  EXPECT_FALSE(parse(R"({"sysctl":{"net.core.somaxconn":"1","net/core/somaxconn":"2"}})"));
  EXPECT_FALSE(parse(R"({"args":{"cni":{"sysctl":{"net.core.a":"1","net.core.a":"2"}}}})"));
  EXPECT_TRUE(parse(R"({"x":{"a":1,"a":2},"sysctl":{"net.core.a":"1"},
                        "args":{"cni":{"sysctl":{"net.core.a":"2"}}}})"));
}

TEST(TuningConfig, BadValuesAreRefused) {
  for (const char* json :
       {R"({"mac":"zz"})", R"({"mac":"01:00:00:00:00:01"})", R"({"mtu":-1})", R"({"mtu":"1500"})",
        R"({"promisc":"yes"})", R"({"allmulti":1})", R"({"txQLen":-1})", R"({"txQLen":4294967296})",
        R"({"sysctl":[]})", R"({"sysctl":{"net.core.somaxconn":1}})", R"({"dataDir":"run"})",
        R"({"dataDir":7})", R"({"args":{"cni":{"mac":"x"}}})",
        R"({"runtimeConfig":{"mac":"x"}})"}) {
    const auto config = parse(json);
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig) << json;
  }
}

bool permits(const std::string& list, const std::string& key) {
  return Allowlist::parse(list).permits(key).has_value();
}

TEST(Allowlist, PatternsAreNotAnchored) {
  EXPECT_TRUE(permits("net.ipv4\n", "net.ipv4.conf.IFNAME.arp_filter"));
  EXPECT_TRUE(permits("^nothing$\r\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$ \n",
                      "net.ipv4.conf.IFNAME.arp_filter"));
  EXPECT_FALSE(permits("^ipv4", "net.ipv4.conf"));
}

TEST(Allowlist, AnEmptyOnePermitsNothing) {
  EXPECT_FALSE(permits("", "net.core.somaxconn"));
  EXPECT_FALSE(permits("\n\n  \n", "net.core.somaxconn"));
}

TEST(Allowlist, GosCommonSyntaxMeansTheSame) {
  EXPECT_TRUE(permits("^net\\.ipv4\\.conf\\.eth\\d+\\.[\\w.]+$", "net.ipv4.conf.eth12.rp_filter"));
  EXPECT_FALSE(permits("^net\\.ipv4\\.conf\\.eth\\d+$", "net.ipv4.conf.ethd"));
  EXPECT_TRUE(permits("^net\\.(?:core|ipv4)\\.[^.]+$", "net.core.somaxconn"));
  EXPECT_TRUE(permits("^net\\.[]x\\.]ore$", "net..ore"));
  EXPECT_TRUE(permits("a{2,3}b", "aab"));
}

TEST(Allowlist, WhatCannotBeReadIsRefusedNotMisread) {
  for (const char* pattern : {"(", "[a", "a\\", "(a)\\1", "(?i)net", "[\\p]", "*[", "(a{100}){100}",
                              "a{99999999999999999999}", "a{2000}"}) {
    const auto permitted = Allowlist::parse(pattern).permits("net.core.somaxconn");
    ASSERT_FALSE(permitted) << pattern;
    EXPECT_EQ(permitted.error().code, Errc::kInvalidConfig);
    EXPECT_EQ(permitted.error().message.find("is not allowed"), std::string::npos) << pattern;
  }
  EXPECT_FALSE(permits(std::string(600, 'a'), "a"));
}

TEST(TuningBackup, IsTheReferencesFile) {
  const auto config =
      parse(R"({"mac":"c2:11:22:33:44:55","promisc":false,"mtu":1500,"allmulti":true,"txQLen":0})");
  const std::string text = renderBackup(config->link);
  EXPECT_EQ(text,
            "{\n \"mac\": \"c2:11:22:33:44:55\",\n \"promisc\": false,\n \"mtu\": 1500,\n"
            " \"allmulti\": true,\n \"txQLen\": 0\n}");
  EXPECT_EQ(renderBackup(parseBackup(text)), text);
}

TEST(TuningBackup, ADamagedOneIsNone) {
  for (const char* text : {"", "{", "[]", "7", R"({"mac":5,"mtu":"x","promisc":3})"})
    EXPECT_FALSE(parseBackup(text).mac || parseBackup(text).mtuBytes) << text;
}

}  // namespace
}  // namespace culvert::plugins
