#include "plugins/multi/config.h"

#include <gtest/gtest.h>

namespace culvert::plugins::multi {
namespace {

Result<MultiConfig> parse(const std::string& json) {
  cni::Request request;
  request.network = "many";
  request.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(json));
  return parseMultiConfig(request);
}

TEST(MultiConfig, DefaultsAreMultusWhereItHasThem) {
  const auto config = parse(R"({"clusterNetwork":"podnet"})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->confDir, "/etc/cni/multi/net.d");
  EXPECT_EQ(config->cniDir, "/var/lib/cni/multi");
  EXPECT_EQ(config->multusNamespace, "kube-system");
  EXPECT_EQ(config->systemNamespaces, std::vector<std::string>{"kube-system"});
  EXPECT_EQ(config->globalNamespaces, std::vector<std::string>{"default"});
  EXPECT_EQ(config->apiTimeout, std::chrono::seconds(10));
  EXPECT_TRUE(config->parallel && config->networks.empty() && !config->namespaceIsolation);
}

TEST(MultiConfig, DelegatesAreListsOrSinglePlugins) {
  const auto config =
      parse(R"({"delegates":[{"type":"ptp"},{"name":"b","plugins":[{"type":"x"},{"type":"y"}]}]})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->delegates[0].name, "many");
  EXPECT_EQ(config->delegates[1].plugins.size(), 2U);
}

TEST(MultiConfig, NetworksAreTextOrAList) {
  EXPECT_EQ(parse(R"({"clusterNetwork":"c","networks":"a,b@x"})")->networks[1].ifName, "x");
  EXPECT_EQ(parse(R"({"clusterNetwork":"c","networks":[{"name":"a"}]})")->networks.size(), 1U);
}

TEST(MultiConfig, BadValuesAreRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({})", "clusterNetwork"},
      {R"({"clusterNetwork":"c","delegates":[{"type":"x"}]})", "clusterNetwork"},
      {R"({"delegates":[]})", "delegates"},
      {R"({"delegates":7})", "delegates"},
      {R"({"delegates":[{}]})", "delegates[0].type"},
      {R"({"delegates":[{"type":"multi"}]})", "delegates[0].type"},
      {R"({"clusterNetwork":"../x"})", "clusterNetwork"},
      {R"({"clusterNetwork":"a@b"})", "clusterNetwork"},
      {R"({"clusterNetwork":"c","defaultNetworks":["a b"]})", "defaultNetworks"},
      {R"({"clusterNetwork":"c","confDir":"relative"})", "confDir"},
      {R"({"clusterNetwork":"c","cniDir":7})", "cniDir"},
      {R"({"clusterNetwork":"c","kubeconfig":"x"})", "kubeconfig"},
      {R"({"clusterNetwork":"c","apiTimeout":0})", "apiTimeout"},
      {R"({"clusterNetwork":"c","networks":7})", "networks"},
      {R"({"clusterNetwork":"c","networks":"a,,"})", "networks"},
      {R"({"clusterNetwork":"c","multusNamespace":"A"})", "multusNamespace"},
      {R"({"clusterNetwork":"c","parallel":"yes"})", "parallel"}};
  for (const auto& [text, words] : cases) {
    const auto config = parse(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig);
    EXPECT_NE(config.error().message.find(words), std::string::npos) << config.error().message;
  }
}

TEST(MultiConfig, DelReadsTheFoldersOfAnyConfiguration) {
  cni::Request request;
  request.config = std::make_shared<const nlohmann::json>(
      nlohmann::json::parse(R"({"cniDir":"/x","delegates":7,"networks":8})"));
  EXPECT_EQ(parseForDel(request).cniDir, "/x");
}

}  // namespace
}  // namespace culvert::plugins::multi
