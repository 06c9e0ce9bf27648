// Configuration, kubeconfigs, manifests, and the small formats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemons/objects/base64.h"
#include "daemons/sources/config.h"
#include "daemons/sources/exec_plugin.h"
#include "daemons/sources/http.h"
#include "daemons/sources/kube_access.h"
#include "daemons/sources/yaml.h"

namespace culvert::sources {
namespace {

using testing::HasSubstr;

std::string problemsOf(const Json& config) {
  cni::Problems problems;
  (void)parseSource(cni::ConfigReader(config, "source", problems));
  const auto result = problems.take();
  return result ? "" : result.error().message;
}

TEST(SourceConfig, ReadsEachType) {
  cni::Problems problems;
  const Json json = {{"type", "etcd"},
                     {"etcd",
                      {{"endpoints", {"https://a:2379", "http://[::1]"}},
                       {"prefix", "/x/"},
                       {"timeoutSeconds", 3}}}};
  const SourceConfig config = parseSource(cni::ConfigReader(json, "source", problems));
  EXPECT_TRUE(problems.take());
  EXPECT_EQ(config.type, SourceConfig::Type::kEtcd);
  EXPECT_EQ(config.etcd.endpoints.size(), 2U);
  EXPECT_EQ(config.etcd.prefix, "/x");
  EXPECT_EQ(config.etcd.timeout, std::chrono::seconds(3));
  EXPECT_EQ(problemsOf(Json::object()), "");
  EXPECT_EQ(problemsOf({{"type", "kubernetes"}}), "");
}

TEST(SourceConfig, NamesEveryProblem) {
  EXPECT_THAT(problemsOf({{"type", "zookeeper"}}), HasSubstr("source.type"));
  EXPECT_THAT(problemsOf({{"type", "dir"}, {"dir", {{"path", "x"}}}}),
              HasSubstr("source.dir.path"));
  const std::string etcd = problemsOf({{"type", "etcd"},
                                       {"etcd",
                                        {{"endpoints", {"ftp://a"}},
                                         {"certFile", "/x"},
                                         {"timeoutSeconds", 0},
                                         {"prefix", "x"},
                                         {"username", "u"}}}});
  for (const char* key : {"endpoints", "certFile", "timeoutSeconds", "prefix", "username"}) {
    EXPECT_THAT(etcd, HasSubstr(std::string("source.etcd.") + key));
  }
  EXPECT_THAT(problemsOf({{"type", "kubernetes"}, {"kubernetes", {{"server", "a:1"}}}}),
              HasSubstr("source.kubernetes.server"));
}

TEST(Endpoint, ParsesUrls) {
  const auto endpoint = http::parseEndpoint("https://[fd00::1]:6443/clusters/a/");
  ASSERT_TRUE(endpoint);
  EXPECT_EQ(endpoint->host, "fd00::1");
  EXPECT_EQ(endpoint->text(), "https://[fd00::1]:6443/clusters/a");
  EXPECT_EQ(http::parseEndpoint("http://a")->port, "80");
  EXPECT_EQ(http::parseEndpoint("https://a")->port, "443");
  for (const char* url : {"", "a:1", "https://", "https://a:x", "https://a:99999", "https://[::1",
                          "https://u@a", "https://a?x", "https://a b"}) {
    EXPECT_FALSE(http::parseEndpoint(url)) << url;
  }
}

TEST(Base64, GoesBothWays) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    const auto decoded = decodeBase64(encodeBase64(bytes));
    ASSERT_TRUE(decoded);
    ASSERT_EQ(*decoded, bytes);
    bytes += static_cast<char>(i * 7);
  }
  EXPECT_EQ(encodeBase64("foob"), "Zm9vYg==");  // RFC 4648 section 10
  EXPECT_EQ(decodeBase64("Zm9v\nYmFy").value_or(""), "foobar");
  for (const char* text : {"Zg", "Z=g=", "Zm9v!", "Z===", "===="})
    EXPECT_FALSE(decodeBase64(text));
}

TEST(Time, ReadsRfc3339) {
  const auto seconds = [](const char* text) {
    const auto time = parseTime(text);
    return time ? std::chrono::system_clock::to_time_t(*time) : -1;
  };
  EXPECT_EQ(seconds("1970-01-02T00:00:01Z"), 86401);
  EXPECT_EQ(seconds("1970-01-02T01:00:01.5+01:00"), 86401);
  EXPECT_EQ(seconds("1970-01-01T23:00:01-01:00"), 86401);
  EXPECT_EQ(seconds("tomorrow"), -1);
  EXPECT_EQ(seconds("1970-01-02T00:00:01"), -1);
}

TEST(ExecCredential, IsChecked) {
  const std::string v1 = "client.authentication.k8s.io/v1";
  const auto good = parseExecCredential(
      R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}})",
      v1);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->token, "t");
  EXPECT_FALSE(good->expires);
  for (const char* text :
       {"", "{}",
        R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{}})",
        R"({"apiVersion":"x","kind":"ExecCredential","status":{"token":"t"}})",
        R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
                               "status":{"token":"t","expirationTimestamp":"soon"}})"}) {
    EXPECT_FALSE(parseExecCredential(text, v1)) << text;
  }
}

std::string kubeconfig(const std::string& cluster, const std::string& user) {
  return "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], clusters: "
         "[{name: k, cluster: {" +
         cluster + "}}], users: [{name: u, user: {" + user + "}}]}";
}

TEST(Kubeconfig, ReadsCredentials) {
  const auto access =
      parseKubeconfig(kubeconfig("server: 'https://k:6443', certificate-authority-data: Zm9v",
                                 "token: t, tokenFile: x/y"),
                      "/etc/k", "");
  ASSERT_TRUE(access) << access.error().message;
  EXPECT_EQ(access->endpoint.text(), "https://k:6443");
  EXPECT_EQ(access->tls.authority, "foo");
  EXPECT_EQ(access->token, "t");
  EXPECT_EQ(access->tokenFile, "/etc/k/x/y");
}

TEST(Kubeconfig, RefusesWhatIsUnsafeOrUnknown) {
  const auto why = [](const std::string& cluster, const std::string& user,
                      const std::string& context = "") {
    const auto access = parseKubeconfig(kubeconfig(cluster, user), "/", context);
    return access ? "accepted" : access.error().message;
  };
  const std::string server = "server: 'https://k'";
  EXPECT_THAT(why(server + ", insecure-skip-tls-verify: true", ""), HasSubstr("always verified"));
  EXPECT_THAT(why(server + ", proxy-url: 'http://p'", ""), HasSubstr("proxy-url"));
  EXPECT_THAT(why(server + ", certificate-authority-data: '!'", ""), HasSubstr("base64"));
  EXPECT_THAT(why("server: k", ""), HasSubstr("server"));
  EXPECT_THAT(why(server, "auth-provider: {name: x}"), HasSubstr("exec"));
  EXPECT_THAT(why(server, "exec: {apiVersion: v1, command: x}"), HasSubstr("apiVersion"));
  EXPECT_THAT(why(server, "token: [1]"), HasSubstr("token"));
  EXPECT_THAT(why(server, "", "other"), HasSubstr("no \"other\" among the contexts"));
  EXPECT_FALSE(parseKubeconfig("[", "/", ""));
  EXPECT_FALSE(parseKubeconfig("", "/", ""));
}

TEST(Yaml, TypesPlainScalarsOnly) {
  const auto documents = parseYaml(
      "a: 1\nb: '1'\nc: true\nd: ~\ne: 1.5\nf: yes\ng: 0x10\nh: \"\"\ni: 1.2.3\n---\n- x\n");
  ASSERT_TRUE(documents);
  ASSERT_EQ(documents->size(), 2U);
  EXPECT_EQ(
      (*documents)[0].value,
      Json::parse(
          R"({"a":1,"b":"1","c":true,"d":null,"e":1.5,"f":"yes","g":16,"h":"","i":"1.2.3"})"));
  EXPECT_EQ((*documents)[1].line, 11);
}

TEST(Yaml, SaysWhereItIsBroken) {
  EXPECT_THAT(parseYaml("a: 1\nb: [\n").error().message, testing::StartsWith("3: "));
  EXPECT_THAT(parseYaml("a: 1\na: 2\n").error().message, testing::StartsWith("2: \"a\" twice"));
}

TEST(Yaml, RepeatsWhatHasAnAnchor) {
  const auto documents = parseYaml("a: &x {k: [1, &y 2]}\nb: *x\nc: [*y, *x]\n--- &x 1\n--- *x\n");
  EXPECT_THAT(documents.error().message, testing::StartsWith("5: not YAML")) << "of its document";
  EXPECT_EQ(parseYaml("a: &x {k: [1, &y 2]}\nb: *x\nc: [*y, *x]\n")->front().value,
            Json::parse(R"({"a":{"k":[1,2]},"b":{"k":[1,2]},"c":[2,{"k":[1,2]}]})"));
  EXPECT_EQ(parseYaml("a: &x {k: 1}\nb: {<<: *x}\n")->front().value,
            Json::parse(R"({"a":{"k":1},"b":{"<<":{"k":1}}})"));
  EXPECT_THAT(parseYaml("a: &x k\n? *x\n: 1\n").error().message,
              testing::StartsWith("2: a key that is no scalar"));
}

TEST(Yaml, SurvivesLongAndDeepAliases) {
  std::string text = "a: &a " + std::string(1 << 20, 'x') + "\nb: [";
  for (int i = 0; i < 17; ++i)
    text += "*a, ";
  EXPECT_THAT(parseYaml(text + "]").error().message, HasSubstr("too much that aliases repeat"));
  std::string deep = "- &a0 [x]\n";
  for (int i = 1; i < 70; ++i)
    deep += "- &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  EXPECT_THAT(parseYaml(deep).error().message, testing::StartsWith("64: nested too deeply"));
  std::string nested;
  for (int i = 0; i < 60; ++i)
    nested += "&x" + std::to_string(i) + " [";
  for (int i = 0; i < 20000; ++i)
    nested += "1,";
  EXPECT_THAT(parseYaml(nested + std::string(60, ']')).error().message,
              HasSubstr("too much that has anchors"));
}

TEST(Yaml, SurvivesBombs) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k)
      bomb += (k > 0 ? "," : "") + last;
    bomb += "]\n";
  }
  EXPECT_THAT(parseYaml(bomb).error().message, HasSubstr("too many nodes"));
  EXPECT_FALSE(parseYaml(std::string(100000, '[')));
  EXPECT_FALSE(parseYaml(",OX")) << "found by fuzzing: yaml-cpp never came back";
  EXPECT_FALSE(parseYaml("&a [*a]"));
}

}  // namespace
}  // namespace culvert::sources
