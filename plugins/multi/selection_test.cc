#include "plugins/multi/selection.h"

#include <gtest/gtest.h>

namespace culvert::plugins::multi {
namespace {

Result<std::vector<Selection>> parse(std::string_view text) {
  return parseSelections(text, "networks");
}

/// The error's words for a list of one element.
std::string refusal(const std::string& element) {
  const auto outcome = parse("[" + element + "]");
  if (outcome) return "";
  EXPECT_EQ(outcome.error().code, Errc::kInvalidConfig);
  return outcome.error().message;
}

TEST(Selection, TheShortFormNamesNetworksNamespacesAndInterfaces) {
  const auto list = parse(" a, lab/b ,c@eth7,lab/d@lan0\n");
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 4U);
  EXPECT_EQ((*list)[0].name, "a");
  EXPECT_EQ((*list)[0].ns, "");
  EXPECT_EQ((*list)[1].ns, "lab");
  EXPECT_EQ((*list)[2].ifName, "eth7");
  EXPECT_EQ((*list)[3].ns + "/" + (*list)[3].name + "@" + (*list)[3].ifName, "lab/d@lan0");
}

TEST(Selection, NothingSelectsNothing) {
  EXPECT_TRUE(parse("")->empty());
  EXPECT_TRUE(parse(" \n")->empty());
  EXPECT_TRUE(parse("[]")->empty());
}

TEST(Selection, BadShortFormsAreRefusedByName) {
  for (const char* text :
       {",", "a,", "a,,b", "/a", "a/", "a@", "a@@b", "a/b/c", "../etc/passwd", "a b", "a@x/y",
        "lab/../x", "-a", "LAB/a", "a@sixteen-bytes-xx", "a@all", "a@..", "\x01"}) {
    const auto outcome = parse(text);
    ASSERT_FALSE(outcome) << text;
    EXPECT_EQ(outcome.error().code, Errc::kInvalidConfig) << text;
    EXPECT_EQ(outcome.error().message.find("networks: "), 0U) << outcome.error().message;
  }
}

TEST(Selection, TheLongFormBecomesRuntimeConfig) {
  const auto list = parse(R"([{"name":"a","namespace":"lab","interface":"lan0",
      "ips":["10.1.1.1/24","fd00::1"],"mac":"02-00-00-00-00-01","deviceID":"0000:01:00.1",
      "infiniband-guid":"24:8a:07:03:00:8d:ae:2f","cni-args":{"x":{"y":1}},
      "portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"UDP","hostIP":"10.0.0.1"}],
      "bandwidth":{"ingressRate":2048,"ingressBurst":300,"egressRate":100000000},
      "default-route":["10.1.1.254","fd00::ff"],"some.vendor/key":7}])");
  ASSERT_TRUE(list) << list.error().message;
  const Selection& one = list->front();
  EXPECT_EQ(one.ns + "/" + one.name + "@" + one.ifName, "lab/a@lan0");
  EXPECT_EQ(one.runtimeConfig, nlohmann::json::parse(R"({
      "ips":["10.1.1.1/24","fd00::1"],"mac":"02:00:00:00:00:01","deviceID":"0000:01:00.1",
      "infinibandGUID":"24:8a:07:03:00:8d:ae:2f",
      "portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"udp","hostIP":"10.0.0.1"}],
      "bandwidth":{"ingressRate":2048,"ingressBurst":300,"egressRate":100000000,
                   "egressBurst":10000000}})"));
  EXPECT_EQ(one.cniArgs, nlohmann::json::parse(R"({"x":{"y":1}})"));
  EXPECT_EQ(one.defaultRoute->size(), 2U);
}

TEST(Selection, AnEmptyDefaultRouteIsNotAnAbsentOne) {
  EXPECT_FALSE(parse(R"([{"name":"a"}])")->front().defaultRoute);
  EXPECT_TRUE(parse(R"([{"name":"a","default-route":[]}])")->front().defaultRoute->empty());
}

TEST(Selection, BadElementsAreRefusedByPathAndValue) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({})", "networks[0].name: is missing"},
      {R"({"name":7})", "networks[0].name: 7"},
      {R"({"name":"../x"})", "networks[0].name"},
      {R"({"name":"a","namespace":"A"})", "networks[0].namespace"},
      {R"({"name":"a","interface":"x/y"})", "networks[0].interface"},
      {R"({"name":"a","ips":[]})", "networks[0].ips"},
      {R"({"name":"a","ips":["10.1.1.300"]})", "10.1.1.300"},
      {R"({"name":"a","ips":"10.1.1.1"})", "networks[0].ips"},
      {R"({"name":"a","mac":"zz"})", "networks[0].mac"},
      {R"({"name":"a","mac":"ff:ff:ff:ff:ff:ff"})", "networks[0].mac"},
      {R"({"name":"a","infiniband-guid":"24:8a"})", "networks[0].infiniband-guid"},
      {R"({"name":"a","portMappings":[]})", "networks[0].portMappings"},
      {R"({"name":"a","portMappings":[{"hostPort":0,"containerPort":80}]})",
       "networks[0].portMappings[0].hostPort"},
      {R"({"name":"a","portMappings":[{"hostPort":80}]})",
       "networks[0].portMappings[0].containerPort: is missing"},
      {R"({"name":"a","portMappings":[{"hostPort":1,"containerPort":1,"protocol":"icmp"}]})",
       "networks[0].portMappings[0].protocol"},
      {R"({"name":"a","bandwidth":{}})", "networks[0].bandwidth"},
      {R"({"name":"a","bandwidth":{"ingressBurst":5}})", "networks[0].bandwidth.ingressBurst"},
      {R"({"name":"a","default-route":["0.0.0.0"]})", "networks[0].default-route"},
      {R"({"name":"a","default-route":"10.0.0.1"})", "networks[0].default-route"},
      {R"({"name":"a","cni-args":[]})", "networks[0].cni-args"},
      {R"({"name":"a","ips":["10.1.1.1"],"ipam-claim-reference":"x"})", "ipam-claim-reference"},
      {R"("a")", "networks[0]"},
      {R"(null)", "networks[0]"}};
  for (const auto& [element, words] : cases) {
    EXPECT_NE(refusal(element).find(words), std::string::npos)
        << element << " -> " << refusal(element);
  }
}

TEST(Selection, EverythingWrongIsToldAtOnce) {
  const std::string words = refusal(R"({"name":"a","mac":"x"},{"name":"","ips":[1]})");
  EXPECT_NE(words.find("[0].mac"), std::string::npos) << words;
  EXPECT_NE(words.find("[1].name"), std::string::npos) << words;
  EXPECT_NE(words.find("[1].ips"), std::string::npos) << words;
}

TEST(Selection, ItMustBeAListOfBoundedLength) {
  for (const std::string& text :
       {std::string(R"({"name":"a"})"), std::string("[{"), std::string("\"a\"")})
    EXPECT_FALSE(parse(text)) << text;
  std::string many = "a";
  for (int i = 0; i < 100; ++i)
    many += ",a";
  EXPECT_NE(parse(many).error().message.find("101 networks"), std::string::npos);
}

}  // namespace
}  // namespace culvert::plugins::multi
