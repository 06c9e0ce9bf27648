#include "daemons/services/configuration.h"

#include <algorithm>

#include "base/text.h"
#include "daemons/services/duration.h"
#include "daemons/services/kube_proxy_config.h"

namespace culvert::services {
namespace {

using frame::Key;
using frame::KeyType;
using nlohmann::json;

void addLines(const std::string& path, const std::string& lines, cni::Problems& problems) {
  for (std::size_t begin = 0; begin < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    problems.add(path, lines.substr(begin, end - begin));
    begin = end + 1;
  }
}

/// Fills in what the file says.
json readFileInto(Configuration& result, const cni::ConfigReader& ours) {
  const std::string path = ours.string("kubeProxyConfig");
  if (path.empty()) return json::object();
  auto file = readKubeProxyConfig(path);
  if (!file) {
    addLines(ours.pathOf("kubeProxyConfig"), file.error().message, ours.problems());
    return json::object();
  }
  result.hostname = std::move(file->hostname);
  result.warnings = std::move(file->warnings);
  return std::move(file->section);
}

std::vector<std::string> textsOf(const std::vector<IpPrefix>& networks) {
  std::vector<std::string> texts;
  for (const IpPrefix& network : networks)
    texts.push_back(network.text());
  return texts;
}

json wordsOf(const NodePortAddresses& addresses) {
  std::vector<std::string> words = textsOf(addresses.networks);
  if (addresses.all)
    words.emplace_back("all");
  else if (addresses.localhost)
    words.emplace_back("localhost");
  if (addresses.primary) words.emplace_back("primary");
  return words;
}

json conntrackOf(const ConntrackSettings& settings) {
  json result = json::object();
  if (settings.maxPerCore != 0)
    result.update({{"maxPerCore", settings.maxPerCore}, {"min", settings.min}});
  const auto add = [&](const char* key, const std::optional<std::chrono::milliseconds>& timeout) {
    if (timeout) result[key] = durationText(*timeout);
  };
  add("tcpEstablishedTimeout", settings.tcpEstablishedTimeout);
  add("tcpCloseWaitTimeout", settings.tcpCloseWaitTimeout);
  add("udpTimeout", settings.udpTimeout);
  add("udpStreamTimeout", settings.udpStreamTimeout);
  if (settings.tcpBeLiberal) result["tcpBeLiberal"] = *settings.tcpBeLiberal;
  return result;
}

}  // namespace

std::vector<Key> configurationKeys() {
  return {
      {"services.kubeProxyConfig", KeyType::kString, "",
       "a KubeProxyConfiguration file: what the other keys do not say is read from there"},
      {"services.clusterCIDRs", KeyType::kStrings, "this node's podCIDRs",
       "who sends from them is a pod"},
      {"services.masqueradeAll", KeyType::kBoolean, "false",
       "packets to cluster IPs come from this node, also those of pods"},
      {"services.nodePortAddresses", KeyType::kStrings, "primary",
       "networks whose addresses on this node have node ports open; primary: its InternalIPs; "
       "localhost: 127.0.0.1 and ::1, TCP; all: all there are"},
      {"services.healthz.address", KeyType::kString, "0.0.0.0:10256",
       "/healthz and /livez as kube-proxy has them; \"\": off"},
      {"services.metrics.address", KeyType::kString, "127.0.0.1:10249",
       "/metrics, /healthz, /proxyMode and /configz as kube-proxy has them; \"\": off"},
      {"services.syncPeriod", KeyType::kString, "30s",
       "a change that is not in the kernel after twice as long makes /healthz fail"},
      {"services.minSyncPeriod", KeyType::kString, "0s", "between two writes to the kernel"},
      {"services.conntrack.maxPerCore", KeyType::kInteger, "left alone",
       "nf_conntrack_max for each core"},
      {"services.conntrack.min", KeyType::kInteger, "131072",
       "the least nf_conntrack_max, with maxPerCore"},
      {"services.conntrack.tcpEstablishedTimeout", KeyType::kString, "left alone",
       "nf_conntrack_tcp_timeout_established"},
      {"services.conntrack.tcpCloseWaitTimeout", KeyType::kString, "left alone",
       "nf_conntrack_tcp_timeout_close_wait"},
      {"services.conntrack.tcpBeLiberal", KeyType::kBoolean, "left alone",
       "nf_conntrack_tcp_be_liberal"},
      {"services.conntrack.udpTimeout", KeyType::kString, "left alone", "nf_conntrack_udp_timeout"},
      {"services.conntrack.udpStreamTimeout", KeyType::kString, "left alone",
       "nf_conntrack_udp_timeout_stream"},
  };
}

Configuration readConfiguration(const frame::Config& config, cni::Problems& problems) {
  Configuration result;
  const cni::ConfigReader ours = config.section("services", problems);
  json merged = readFileInto(result, ours);
  const auto section = config.root().find("services");
  if (section != config.root().end() && section->is_object()) merged.merge_patch(*section);
  result.settings = readSettings({merged, "services", problems});
  return result;
}

std::optional<std::string> kubeconfigOf(const frame::Config& config) {
  cni::Problems others;  // readConfiguration() reports them
  const std::string path = config.section("services", others).string("kubeProxyConfig");
  if (path.empty()) return std::nullopt;
  auto file = readKubeProxyConfig(path);
  if (!file) return std::nullopt;
  return std::move(file->kubeconfig);
}

json toKubeProxyConfig(const Settings& settings, const std::string& node) {
  const auto addressOf = [](const std::optional<frame::ListenAddress>& at) {
    return at ? at->text() : "";
  };
  const bool clusterCidr = !settings.clusterCidrs.empty();
  return {{"apiVersion", "kubeproxy.config.k8s.io/v1alpha1"},
          {"kind", "KubeProxyConfiguration"},
          {"mode", "nftables"},
          {"hostnameOverride", node},
          {"detectLocalMode", clusterCidr ? "ClusterCIDR" : "NodeCIDR"},
          {"clusterCIDR", joined(textsOf(settings.clusterCidrs), ",")},
          {"nodePortAddresses", wordsOf(settings.nodePorts)},
          {"healthzBindAddress", addressOf(settings.healthz)},
          {"metricsBindAddress", addressOf(settings.metrics)},
          {"nftables",
           {{"masqueradeAll", settings.masqueradeAll},
            {"syncPeriod", durationText(settings.syncPeriod)},
            {"minSyncPeriod", durationText(settings.minSyncPeriod)}}},
          {"conntrack", conntrackOf(settings.conntrack)}};
}

}  // namespace culvert::services
