#include "plugins/multi/kubeconfig.h"

#include <gtest/gtest.h>

#include "plugins/multi/yaml.h"

namespace culvert::plugins::multi {
namespace {

std::string document(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
         "contexts: [{name: other, context: {}}, {name: here, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: x}, {name: c, cluster: {" +
         cluster + "}}]\nusers: [{name: u, user: {" + user + "}}]\n";
}

Result<Kubeconfig> parse(const std::string& text) {
  const auto documents = parseYaml(text);
  if (!documents) return documents.error();
  return parseKubeconfig(documents->at(0), "kubeconfig");
}

TEST(Kubeconfig, TheCurrentContextCounts) {
  const auto config = parse(document(
      "server: 'https://10.96.0.1:6443/k8s/', certificate-authority-data: Y2E=, tls-server-name: k",
      "tokenFile: /t, token: ignored"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->server.host, "10.96.0.1");
  EXPECT_EQ(config->server.port, 6443);
  EXPECT_EQ(config->server.prefix, "/k8s");
  EXPECT_EQ(config->authority.text, "ca");
  EXPECT_EQ(config->tlsServerName, "k");
  EXPECT_EQ(config->token.file, "/t");
  EXPECT_EQ(config->token.text, "");
}

TEST(Kubeconfig, WhatWeakensOrIsNotSpokenIsRefused) {
  const std::string good = "server: 'https://h', certificate-authority: /ca";
  ASSERT_TRUE(parse(document(good, "")));
  const std::vector<std::pair<std::string, std::string>> cases{
      {document(good + ", insecure-skip-tls-verify: true", ""), "insecure-skip-tls-verify"},
      {document("server: 'http://h', certificate-authority: /ca", ""), "https"},
      {document("server: 'https://h'", ""), "certificate-authority"},
      {document("certificate-authority: /ca", ""), "server"},
      {document(good, "exec: {command: x}"), "exec"},
      {document(good, "password: x"), "password"},
      {document(good, "token: \"a\\r\\nX: y\""), "token"},
      {document(good, "client-key-data: '*'"), "base64"},
      {"{}", "current-context"},
      {"current-context: here", "contexts"},
      {"7", "kubeconfig"}};
  for (const auto& [text, words] : cases) {
    const auto config = parse(text);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig);
    EXPECT_NE(config.error().message.find(words), std::string::npos) << config.error().message;
  }
}

TEST(Kubeconfig, UrlsOfApiServers) {
  EXPECT_EQ(parseApiServer("https://[fd00::1]:6443", "x")->host, "fd00::1");
  EXPECT_EQ(parseApiServer("https://[fd00::1]", "x")->port, 443);
  EXPECT_EQ(parseApiServer("https://kube.example/", "x")->prefix, "");
  for (const char* url :
       {"", "https://", "https:///x", "https://h:0", "https://h:99999", "https://h:x",
        "https://h: 1", "https://[fd00::1", "https://[::1]x", "https://u@h", "https://h/a b",
        "https://h/?q", "https://h/\r\nX: y", "ftp://h"})
    EXPECT_FALSE(parseApiServer(url, "x")) << url;
}

TEST(Yaml, ScalarsAreWhatTheyLookLikeUnlessQuoted) {
  const auto documents =
      parseYaml("{a: 1, b: '1', c: true, d: ~, e: null, f: 1.5, g: -7, h: , i: |\n  x\n}");
  ASSERT_FALSE(documents);  // a block scalar cannot stand in a flow mapping
  EXPECT_EQ(parseYaml("{a: 1, b: '1', c: true, d: ~, e: null, f: 1.5, g: -7, h: }")->at(0),
            nlohmann::json::parse(
                R"({"a":1,"b":"1","c":true,"d":null,"e":null,"f":"1.5","g":-7,"h":null})"));
  EXPECT_EQ(parseYaml("i: |\n  x\n  y\n")->at(0), nlohmann::json::parse(R"({"i":"x\ny\n"})"));
}

TEST(Yaml, SeveralDocumentsAndNone) {
  EXPECT_EQ(parseYaml("a: 1\n---\n[b]\n")->size(), 2U);
  EXPECT_TRUE(parseYaml("")->empty());
  EXPECT_TRUE(parseYaml("# nothing\n")->empty());
}

TEST(Yaml, BombsAreRefused) {
  std::string deep;
  for (int i = 0; i < 2000; ++i)
    deep += "[";
  for (const std::string& text :
       {deep, std::string("a: &x [1]\nb: *x\n"), std::string("*x"), std::string("? [a]\n: b\n"),
        std::string("a: [\n"), std::string("a: 'x"), std::string("\xc3\x28")}) {
    const auto documents = parseYaml(text);
    ASSERT_FALSE(documents) << text.substr(0, 20);
    EXPECT_EQ(documents.error().code, Errc::kDecode);
  }
}

}  // namespace
}  // namespace culvert::plugins::multi
