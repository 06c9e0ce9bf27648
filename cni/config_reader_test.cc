#include "cni/config_reader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cni/args.h"

namespace culvert::cni {
namespace {

using nlohmann::json;

TEST(ConfigReader, MatchesKeysWithoutRegardToCaseAndSkipsNull) {
  const json config = {{"isdefaultgateway", true}, {"MTU", 1400}, {"bridge", nullptr}};
  Problems problems;
  const ConfigReader reader(config, "", problems);
  EXPECT_TRUE(reader.boolean("isDefaultGateway"));
  EXPECT_EQ(reader.integer("mtu", 0, 65535), 1400);
  EXPECT_EQ(reader.string("bridge", "cni0"), "cni0");
  EXPECT_TRUE(problems.take());
}

TEST(ConfigReader, PrefersTheExactKey) {
  const json config = {{"MTU", 1}, {"mtu", 2}};
  Problems problems;
  EXPECT_EQ(ConfigReader(config, "", problems).integer("mtu", 0, 9), 2);
}

TEST(ConfigReader, ReportsEverythingWrongWithPathAndValue) {
  const json config = json::parse(
      R"({"bridge":7,"ipMasq":"yes","vlan":5000,"ipam":{"ranges":[[{"subnet":"10.0.0.0/99"}]]}})");
  Problems problems;
  const ConfigReader reader(config, "", problems);
  reader.string("bridge");
  reader.boolean("ipMasq");
  reader.integer("vlan", 0, 4094);
  for (const auto& set : reader.object("ipam").objectLists("ranges")) {
    for (const ConfigReader& range : set)
      range.prefix("subnet");
  }
  const Result<void> outcome = problems.take();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kInvalidConfig);
  EXPECT_EQ(
      outcome.error().message,
      "bridge: 7 is not a string; ipMasq: \"yes\" is not true or false; vlan: 5000 is not an "
      "integer within "
      "0..4094; ipam.ranges[0][0].subnet: \"10.0.0.0/99\" is not an address in CIDR notation");
}

TEST(ConfigReader, AnIntegerIsAnInteger) {
  for (const char* value : {"1.0", "\"1\"", "true", "18446744073709551615", "-1", "[]"}) {
    const json config = json::parse("{\"mtu\":" + std::string(value) + "}");
    Problems problems;
    EXPECT_FALSE(ConfigReader(config, "", problems).integer("mtu", 0, 100)) << value;
    EXPECT_FALSE(problems.take()) << value;
  }
}

TEST(ConfigReader, AWrongTypeWhereAnObjectShouldBeIsNoCrash) {
  const json config = json::parse(R"({"ipam":[1],"vlanTrunk":{"id":1},"dns":"x"})");
  Problems problems;
  const ConfigReader reader(config, "", problems);
  EXPECT_EQ(reader.object("ipam").string("type"), "");
  EXPECT_TRUE(reader.objects("vlanTrunk").empty());
  EXPECT_TRUE(reader.object("dns").strings("search").empty());
  EXPECT_FALSE(problems.take());
}

TEST(Args, KnownKeysPassAndUnknownOnesDoNot) {
  EXPECT_EQ(parseArgs("MAC=0a:58:0a:16:00:02", {"MAC"})->at("MAC"), "0a:58:0a:16:00:02");
  EXPECT_TRUE(parseArgs("", {})->empty());
  const auto refused = parseArgs("IP=10.0.0.1", {"MAC"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "CNI_ARGS: unknown args [IP]");
  EXPECT_EQ(refused.error().code, Errc::kInvalidEnvironment);
}

TEST(Args, IgnoreUnknownIsHonoured) {
  for (const char* yes : {"1", "true", "TRUE"}) {
    EXPECT_TRUE(parseArgs("IgnoreUnknown=" + std::string(yes) + ";K8S_POD_NAME=x", {})) << yes;
  }
  EXPECT_FALSE(parseArgs("IgnoreUnknown=0;K8S_POD_NAME=x", {}));
}

TEST(Args, MalformedPairsAreRefused) {
  for (const char* raw : {"MAC", "MAC=a=b", "MAC=a;", ";MAC=a"}) {
    EXPECT_FALSE(parseArgs(raw, {"MAC"})) << raw;
  }
}

}  // namespace
}  // namespace culvert::cni
