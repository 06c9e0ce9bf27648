#pragma once

#include <array>

/// The fields of kubeproxy.config.k8s.io/v1alpha1 (kubernetes 1.36).
namespace culvert::services::kubeproxy {

struct Field {
  const char* path;
  /// Values that count as not set, besides those that always do (isUnset()); a JSON array.
  const char* defaults = "[]";
  /// Why it does not apply; null: it does.
  const char* why = nullptr;
};

inline constexpr const char* kNotNeeded = "Culvert has no use for it";
inline constexpr const char* kOtherMode = "it is of another mode, and nftables is used";
inline constexpr const char* kProtobuf = R"(["application/vnd.kubernetes.protobuf"])";

inline constexpr std::array kFields = {
    Field{"apiVersion"},
    Field{"kind"},
    Field{"featureGates", "[]", "Culvert has no such gates"},
    Field{"clientConnection.kubeconfig"},
    Field{"clientConnection.acceptContentTypes", "[]", kNotNeeded},
    Field{"clientConnection.contentType", kProtobuf, "JSON is used"},
    Field{"clientConnection.qps", "[0, 5]", kNotNeeded},
    Field{"clientConnection.burst", "[0, 10]", kNotNeeded},
    Field{"logging", "[]", "log.level and log.format of culvertd.yaml count"},
    Field{"logging.format", R"(["text"])", "log.format of culvertd.yaml counts"},
    Field{"logging.flushFrequency", R"([0, "5s", 5000000000])", kNotNeeded},
    Field{"logging.verbosity", "[0]", "log.level of culvertd.yaml counts"},
    Field{"logging.vmodule", "[]", "log.level of culvertd.yaml counts"},
    Field{"logging.options", R"(["0", false])", "log.format of culvertd.yaml counts"},
    Field{"hostnameOverride"},
    Field{"bindAddress", R"(["0.0.0.0", "::"])", "addresses of both families are used"},
    Field{"healthzBindAddress"},
    Field{"metricsBindAddress"},
    Field{"bindAddressHardFail", "[false]", "a port that is taken is a complaint"},
    Field{"enableProfiling", "[false]", "Culvert has no such handlers"},
    Field{"showHiddenMetricsForVersion", "[]", kNotNeeded},
    Field{"mode"},
    Field{"iptables.masqueradeBit", "[14]", "no packet mark is used"},
    Field{"iptables.masqueradeAll", "[false]"},
    Field{"iptables.localhostNodePorts", "[false]"},
    Field{"iptables.syncPeriod", R"(["30s"])", kOtherMode},
    Field{"iptables.minSyncPeriod", R"(["1s"])", kOtherMode},
    Field{"ipvs.syncPeriod", R"(["30s"])", kOtherMode},
    Field{"ipvs.minSyncPeriod", "[]", kOtherMode},
    Field{"ipvs.scheduler", R"(["rr"])", "endpoints are chosen at random"},
    Field{"ipvs.excludeCIDRs", "[]", kOtherMode},
    Field{"ipvs.strictARP", "[false]", kOtherMode},
    Field{"ipvs.tcpTimeout", "[]", kOtherMode},
    Field{"ipvs.tcpFinTimeout", "[]", kOtherMode},
    Field{"ipvs.udpTimeout", "[]", kOtherMode},
    Field{"nftables.masqueradeBit", "[14]", "no packet mark is used"},
    Field{"nftables.masqueradeAll", "[false]"},
    Field{"nftables.syncPeriod"},
    Field{"nftables.minSyncPeriod"},
    Field{"winkernel", "[false]", "it is for Windows"},
    Field{"winkernel.networkName", "[]", "it is for Windows"},
    Field{"winkernel.sourceVip", "[]", "it is for Windows"},
    Field{"winkernel.enableDSR", "[false]", "it is for Windows"},
    Field{"winkernel.rootHnsEndpointName", "[]", "it is for Windows"},
    Field{"winkernel.forwardHealthCheckVip", "[false]", "it is for Windows"},
    Field{"detectLocalMode"},
    Field{"detectLocal.bridgeInterface", "[]", "pods are told by their addresses"},
    Field{"detectLocal.interfaceNamePrefix", "[]", "pods are told by their addresses"},
    Field{"clusterCIDR"},
    Field{"nodePortAddresses"},
    Field{"oomScoreAdj", "[-999]", "set it where culvertd is started"},
    Field{"conntrack.maxPerCore"},
    Field{"conntrack.min"},
    Field{"conntrack.tcpEstablishedTimeout"},
    Field{"conntrack.tcpCloseWaitTimeout"},
    Field{"conntrack.tcpBeLiberal", "[false]"},
    Field{"conntrack.udpTimeout"},
    Field{"conntrack.udpStreamTimeout"},
    Field{"configSyncPeriod", R"(["15m", "15m0s"])", "the source is always watched"},
    Field{"portRange", "[]", "kube-proxy does not use it either"},
};

}  // namespace culvert::services::kubeproxy
