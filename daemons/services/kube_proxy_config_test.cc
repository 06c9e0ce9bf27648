#include "daemons/services/kube_proxy_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::services {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kHead =
    "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

KubeProxyConfig parsed(const std::string& text) {
  auto config = parseKubeProxyConfig(kHead + text);
  EXPECT_TRUE(config) << config.error().message;
  return config.value_or(KubeProxyConfig());
}

std::string problemsOf(const std::string& text) {
  const auto config = parseKubeProxyConfig(text);
  return config ? "none" : config.error().message;
}

/// What kubeadm 1.34 writes.
constexpr const char* kKubeadm = R"(bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16,fd44::/48
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
)";

TEST(KubeProxyConfig, TakesKubeadmsWithoutAWarning) {
  const KubeProxyConfig config = parsed(kKubeadm);
  EXPECT_THAT(config.warnings, IsEmpty());
  EXPECT_EQ(config.section, json::parse(R"({"clusterCIDRs": ["10.244.0.0/16", "fd44::/48"]})"));
  EXPECT_EQ(config.kubeconfig, "/var/lib/kube-proxy/kubeconfig.conf");
  EXPECT_EQ(config.hostname, "");
}

TEST(KubeProxyConfig, TakesItsDefaultsWithoutAWarning) {
  const KubeProxyConfig config = parsed(
      "iptables: {masqueradeBit: 14, syncPeriod: 30s, minSyncPeriod: 1s}\noomScoreAdj: -999\n"
      "configSyncPeriod: 15m0s\nclientConnection: {qps: 5, burst: 10, contentType: "
      "application/vnd.kubernetes.protobuf}\nmode: nftables\nipvs: null\n");
  EXPECT_THAT(config.warnings, IsEmpty());
}

TEST(KubeProxyConfig, MapsWhatApplies) {
  const KubeProxyConfig config = parsed(R"(mode: nftables
nftables: {masqueradeAll: true, syncPeriod: 1m, minSyncPeriod: 500ms}
nodePortAddresses: [10.0.0.0/8, localhost]
healthzBindAddress: 127.0.0.1
metricsBindAddress: "[::]:9000"
hostnameOverride: Node-7
conntrack: {maxPerCore: 1000, min: 5, tcpEstablishedTimeout: 1h, tcpCloseWaitTimeout: 1m0s,
            tcpBeLiberal: true, udpTimeout: 20s, udpStreamTimeout: 90s}
)");
  EXPECT_THAT(config.warnings, IsEmpty());
  EXPECT_EQ(config.hostname, "node-7");
  EXPECT_EQ(config.section, json::parse(R"({"masqueradeAll": true, "syncPeriod": "1m",
      "minSyncPeriod": "500ms", "nodePortAddresses": ["10.0.0.0/8", "localhost"],
      "healthz": {"address": "127.0.0.1:10256"}, "metrics": {"address": "[::]:9000"},
      "conntrack": {"maxPerCore": 1000, "min": 5, "tcpEstablishedTimeout": "1h",
          "tcpCloseWaitTimeout": "1m0s", "tcpBeLiberal": true, "udpTimeout": "20s",
          "udpStreamTimeout": "90s"}})"));
}

TEST(KubeProxyConfig, ReadsTheSectionOfTheModeThatWasUsed) {
  const std::string iptables = "iptables: {masqueradeAll: true, localhostNodePorts: true}\n";
  const KubeProxyConfig used = parsed("mode: iptables\n" + iptables);
  EXPECT_EQ(
      used.section,
      json::parse(R"({"masqueradeAll": true, "nodePortAddresses": ["primary", "localhost"]})"));
  EXPECT_THAT(used.warnings, ElementsAre(HasSubstr("3: mode: \"iptables\" is not used")));
  EXPECT_EQ(parsed("mode: nftables\n" + iptables).section, json::object());
}

TEST(KubeProxyConfig, TellsPodsByClusterCidrOrByNode) {
  const std::string networks = "clusterCIDR: 10.1.0.0/16\ndetectLocalMode: ";
  EXPECT_TRUE(parsed(networks + "ClusterCIDR\n").section.contains("clusterCIDRs"));
  EXPECT_FALSE(parsed(networks + "NodeCIDR\n").section.contains("clusterCIDRs"));
  const KubeProxyConfig bridge =
      parsed(networks + "BridgeInterface\ndetectLocal: {bridgeInterface: cbr0}\n");
  EXPECT_TRUE(bridge.section.contains("clusterCIDRs"));
  EXPECT_THAT(bridge.warnings,
              ElementsAre(HasSubstr("5: detectLocal.bridgeInterface: \"cbr0\" is not used"),
                          HasSubstr("4: detectLocalMode: \"BridgeInterface\" is not used")));
}

TEST(KubeProxyConfig, WarnsOnceForEachFieldThatDoesNotApply) {
  const KubeProxyConfig config = parsed(R"(featureGates: {A: false, B: true}
bindAddress: 10.0.0.1
oomScoreAdj: 0
iptables:
  syncPeriod: 5s
ipvs: {scheduler: lc}
logging: {verbosity: 2}
clusterCidr: 10.1.0.0/16
nftables:
  speed: high
)");
  EXPECT_THAT(config.warnings,
              ElementsAre("4: bindAddress: \"10.0.0.1\" is not used: addresses of both families "
                          "are used",
                          "10: clusterCidr: unknown field, ignored",
                          "3: featureGates.A: false is not used: Culvert has no such gates",
                          "3: featureGates.B: true is not used: Culvert has no such gates",
                          "7: iptables.syncPeriod: \"5s\" is not used: it is of another mode, and "
                          "nftables is used",
                          "8: ipvs.scheduler: \"lc\" is not used: endpoints are chosen at random",
                          "9: logging.verbosity: 2 is not used: log.level of culvertd.yaml counts",
                          "12: nftables.speed: unknown field, ignored",
                          "5: oomScoreAdj: 0 is not used: set it where culvertd is started"));
}

TEST(KubeProxyConfig, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(problemsOf("kind: Pod\n"), HasSubstr("1: is no KubeProxyConfiguration"));
  EXPECT_THAT(problemsOf("[1, 2]"), HasSubstr("1: is no KubeProxyConfiguration"));
  EXPECT_THAT(problemsOf("a: [\n"), HasSubstr("not usable YAML"));
  EXPECT_EQ(problemsOf(kHead + R"(clusterCIDR: 10.1.0.0/99
mode: userspace
nftables: {syncPeriod: soon, masqueradeAll: 1}
conntrack: {min: -1}
nodePortAddresses: secondary
detectLocalMode: Guess
healthzBindAddress: localhost
iptables: no
)"),
            "10: iptables: \"no\" is not an object\n"
            "4: mode: \"userspace\" is none of iptables, ipvs, nftables\n"
            "5: nftables.masqueradeAll: 1 is not a boolean\n"
            "3: clusterCIDR: \"10.1.0.0/99\" is not a network (CIDR)\n"
            "8: detectLocalMode: \"Guess\" is none of ClusterCIDR, NodeCIDR, BridgeInterface, "
            "InterfaceNamePrefix\n"
            "7: nodePortAddresses: \"secondary\" is not a list of strings\n"
            "9: healthzBindAddress: \"localhost\" is not ADDRESS:PORT\n"
            "5: nftables.syncPeriod: \"soon\" is not a duration (\"1h30m\", \"500ms\")\n"
            "6: conntrack.min: -1 is not an integer within 0..2147483647");
}

}  // namespace
}  // namespace culvert::services
