#include "daemons/services/configuration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/file.h"
#include "daemons/services/duration.h"

namespace culvert::services {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

/// Files that are gone at the end.
class Folder {
 public:
  Folder() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~Folder() {
    for (const char* name : {"/culvertd.yaml", "/kube-proxy.conf"})
      (void)removeFile(path_ + name);
    (void)::rmdir(path_.c_str());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    const std::string file = path_ + "/" + name;
    EXPECT_TRUE(replaceFile(file, text, 0600));
    return file;
  }

 private:
  std::string path_ = "/tmp/culvert-test.XXXXXX";
};

struct Read {
  Configuration configuration;
  std::string problems;
};

Read read(const std::string& services, const std::string& kubeProxy = "") {
  const Folder folder;
  std::string text = "services:\n" + services;
  if (!kubeProxy.empty())
    text += "  kubeProxyConfig: " +
            folder.write("kube-proxy.conf",
                         "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: "
                         "KubeProxyConfiguration\n" +
                             kubeProxy) +
            "\n";
  frame::Schema schema;
  schema.add(configurationKeys());
  frame::ConfigInput input;
  input.file = folder.write("culvertd.yaml", text);
  input.fileNamed = true;
  cni::Problems problems;
  const auto config = frame::loadConfig(schema, input, problems);
  EXPECT_TRUE(config) << config.error().message;
  Read result;
  result.configuration = readConfiguration(*config, problems);
  if (const auto verdict = config->verdict(problems); !verdict)
    result.problems = verdict.error().message;
  return result;
}

TEST(Durations, AreGos) {
  EXPECT_EQ(parseDuration("24h0m0s"), hours(24));
  EXPECT_EQ(parseDuration("1.5s"), milliseconds(1500));
  EXPECT_EQ(parseDuration("250ms"), milliseconds(250));
  EXPECT_EQ(parseDuration("2000us"), milliseconds(2));
  EXPECT_EQ(parseDuration("0"), milliseconds(0));
  for (const char* wrong : {"", "5", "-1s", "s", "1x", "1s ", ".s", "1..5s", "9999999h", "1e3s"})
    EXPECT_FALSE(parseDuration(wrong)) << wrong;
  for (const char* text : {"0s", "1.5s", "24h0m0s", "1m30s", "0.25s"})
    EXPECT_EQ(durationText(*parseDuration(text)), text);
}

TEST(Configuration, HasDefaults) {
  const Read defaults = read("  masqueradeAll: false\n");
  EXPECT_EQ(defaults.problems, "");
  const Settings& settings = defaults.configuration.settings;
  EXPECT_EQ(settings.healthz->text(), "0.0.0.0:10256");
  EXPECT_EQ(settings.metrics->text(), "127.0.0.1:10249");
  EXPECT_EQ(settings.nodePorts, NodePortAddresses());
  EXPECT_EQ(settings.conntrack, ConntrackSettings());
}

TEST(Configuration, CulvertdYamlCountsMoreThanKubeProxys) {
  const Read both = read(
      "  healthz: {address: \"\"}\n  conntrack: {udpTimeout: 5s}\n  nodePortAddresses: [all]\n",
      "healthzBindAddress: 127.0.0.1:1\nmetricsBindAddress: 127.0.0.1:2\nhostnameOverride: other\n"
      "conntrack: {udpTimeout: 7s, udpStreamTimeout: 8s}\nnodePortAddresses: [10.0.0.0/8]\n"
      "oomScoreAdj: 1\n");
  EXPECT_EQ(both.problems, "");
  const Settings& settings = both.configuration.settings;
  EXPECT_FALSE(settings.healthz);
  EXPECT_EQ(settings.metrics->text(), "127.0.0.1:2");
  EXPECT_EQ(settings.conntrack.udpTimeout, milliseconds(5000));
  EXPECT_EQ(settings.conntrack.udpStreamTimeout, milliseconds(8000));
  EXPECT_EQ(settings.nodePorts, (NodePortAddresses{false, true, true, {}}));
  EXPECT_EQ(both.configuration.hostname, "other");
  EXPECT_THAT(both.configuration.warnings,
              ElementsAre(HasSubstr("kube-proxy.conf:8: oomScoreAdj")));
}

TEST(Configuration, SaysWhatIsWrongInEither) {
  const Read wrong =
      read("  healthz: {address: here}\n  syncPeriod: 0s\n  conntrack: {udpTimeout: 5}\n",
           "mode: userspace\nclusterCIDR: x\n");
  EXPECT_THAT(wrong.problems, testing::AllOf(HasSubstr("services.healthz.address"),
                                             HasSubstr("services.syncPeriod"),
                                             HasSubstr("services.conntrack.udpTimeout"),
                                             HasSubstr("kube-proxy.conf:3: mode"),
                                             HasSubstr("kube-proxy.conf:4: clusterCIDR")));
  EXPECT_THAT(read("  kubeProxyConfig: /nonexistent\n").problems,
              HasSubstr("services.kubeProxyConfig"));
}

TEST(Configuration, ShowsWhatRunsAsAKubeProxyConfigurationThatMeansTheSame) {
  const Read first = read(
      "  clusterCIDRs: [10.1.0.0/16]\n  nodePortAddresses: [primary, localhost]\n"
      "  conntrack: {maxPerCore: 7, udpTimeout: 90s, tcpBeLiberal: true}\n");
  const auto shown = toKubeProxyConfig(first.configuration.settings, "n1");
  std::string yaml;
  for (const auto& [key, value] : shown.items()) {
    if (key != "apiVersion" && key != "kind") yaml += key + ": " + value.dump() + "\n";
  }
  const Read again = read("  masqueradeAll: false\n", yaml);
  EXPECT_EQ(again.problems, "");
  EXPECT_THAT(again.configuration.warnings, testing::IsEmpty());
  EXPECT_EQ(toKubeProxyConfig(again.configuration.settings, "n1"), shown);
}

TEST(NodePorts, AreNeverOpenAtLoopbackInTheKernel) {
  const auto ip = [](const char* text) { return *IpAddress::parse(text); };
  const std::set<IpAddress> host{ip("127.0.0.1"), ip("::1"), ip("10.0.0.1"), ip("192.0.2.1")};
  const NodePortAddresses all{false, true, true, {}};
  EXPECT_THAT(all.of(host, {}), ElementsAre(ip("10.0.0.1"), ip("192.0.2.1")));
  const NodePortAddresses any{false, false, false, {IpPrefix::any(Family::kV4)}};
  EXPECT_THAT(any.of(host, {}), ElementsAre(ip("10.0.0.1"), ip("192.0.2.1")));
  const NodePortAddresses both{true, false, false, {*IpPrefix::parse("192.0.2.0/24")}};
  EXPECT_THAT(both.of(host, {ip("10.0.0.1")}), ElementsAre(ip("10.0.0.1"), ip("192.0.2.1")));
  EXPECT_TRUE((NodePortAddresses{false, true, false, {}}).of(host, {ip("10.0.0.1")}).empty());
}

TEST(Conntrack, EntriesAreForAllCoresWithinBounds) {
  ConntrackSettings settings;
  EXPECT_EQ(conntrackMax(settings, 4), 0u) << "not set: left alone";
  settings.maxPerCore = 32768;
  EXPECT_EQ(conntrackMax(settings, 2), 131072u) << "the least";
  EXPECT_EQ(conntrackMax(settings, 8), 262144u);
  EXPECT_EQ(conntrackMax(settings, 64), 1048576u) << "the most";
}

TEST(Conntrack, OnlyWhatIsSetIsWritten) {
  EXPECT_TRUE(conntrackSysctls({}).empty());
  ConntrackSettings settings;
  settings.udpTimeout = milliseconds(90'500);
  settings.tcpCloseWaitTimeout = milliseconds(0);
  settings.tcpBeLiberal = false;
  EXPECT_THAT(conntrackSysctls(settings),
              ElementsAre(Sysctl{"netfilter/nf_conntrack_udp_timeout", "90"},
                          Sysctl{"netfilter/nf_conntrack_tcp_be_liberal", "0"}));
}

}  // namespace
}  // namespace culvert::services
