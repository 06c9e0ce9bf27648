#include "plugins/multi/config.h"

#include "cni/config_reader.h"

namespace culvert::plugins::multi {
namespace {

using cni::ConfigReader;
using cni::Problems;
using nlohmann::json;

constexpr std::int64_t kMaxTimeoutSeconds = 60;
constexpr std::int64_t kDefaultTimeoutSeconds = 10;

std::string readPath(const ConfigReader& reader, const char* key, const std::string& fallback) {
  std::string path = reader.string(key, fallback);
  if (path.empty()) return fallback;
  if (path.front() != '/') reader.problem(key, "is no absolute path");
  while (path.size() > 1 && path.ends_with('/'))
    path.pop_back();
  return path;
}

void note(const ConfigReader& reader, const Error& error) {
  const std::size_t colon = error.message.find(": ");
  if (colon == std::string::npos) return reader.problems().add("configuration", error.message);
  reader.problems().add(error.message.substr(0, colon), error.message.substr(colon + 2));
}

void readDelegates(const cni::Request& request, const ConfigReader& reader, MultiConfig& config) {
  const json& list = reader.raw("delegates");
  if (!list.is_null() && !list.is_array()) return reader.problem("delegates", "is not a list");
  for (std::size_t i = 0; i < list.size(); ++i) {
    NetworkDefaults defaults = config.defaults;
    defaults.name = request.network;
    const auto network = parseNetwork(list[i], defaults, "delegates[" + std::to_string(i) + "]");
    if (!network) {
      note(reader, network.error());
      continue;
    }
    config.delegates.push_back(*network);
  }
}

void readClusterNetwork(const ConfigReader& reader, MultiConfig& config) {
  config.clusterNetwork = reader.string("clusterNetwork");
  const bool hasDelegates = reader.has("delegates");
  if (config.clusterNetwork.empty() && !hasDelegates) {
    reader.problems().add("clusterNetwork", "is missing (or delegates)");
  } else if (!config.clusterNetwork.empty() && hasDelegates) {
    reader.problem("clusterNetwork", "cannot be combined with delegates");
  } else if (hasDelegates && config.delegates.empty()) {
    reader.problem("delegates", "has no valid network in it");
  }
}

void readReferences(const ConfigReader& reader, MultiConfig& config) {
  config.defaultNetworks = reader.strings("defaultNetworks");
  std::vector<std::string> all = config.defaultNetworks;
  if (!config.clusterNetwork.empty()) all.push_back(config.clusterNetwork);
  for (const std::string& one : all) {
    if (one.starts_with('/')) continue;
    const auto reference = parseReference(one, "clusterNetwork or defaultNetworks");
    if (!reference) note(reader, reference.error());
  }
}

void readNetworks(const ConfigReader& reader, MultiConfig& config) {
  const json& value = reader.raw("networks");
  if (value.is_null()) return;
  auto selections = value.is_string() ? parseSelections(value.get<std::string>(), "networks")
                                      : parseSelectionList(value, "networks");
  if (!selections) return note(reader, selections.error());
  config.networks = std::move(*selections);
}

std::vector<std::string> splitList(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  while (start <= text.size()) {
    const std::size_t end = std::min(text.find(',', start), text.size());
    std::string part = text.substr(start, end - start);
    std::erase(part, ' ');
    if (!part.empty()) parts.push_back(std::move(part));
    start = end + 1;
  }
  return parts;
}

void readNamespaces(const ConfigReader& reader, MultiConfig& config) {
  config.namespaceIsolation = reader.boolean("namespaceIsolation");
  config.globalNamespaces = splitList(reader.string("globalNamespaces", "default"));
  config.systemNamespaces = reader.has("systemNamespaces")
                                ? reader.strings("systemNamespaces")
                                : std::vector<std::string>{"kube-system"};
  config.multusNamespace = reader.string("multusNamespace", "kube-system");
  if (!isNamespaceName(config.multusNamespace))
    reader.problem("multusNamespace", "is no DNS-1123 label");
}

void readApi(const ConfigReader& reader, MultiConfig& config) {
  config.kubeconfig = readPath(reader, "kubeconfig", "");
  config.apiServer = reader.string("apiServer");
  config.apiTimeout = std::chrono::seconds(
      reader.integer("apiTimeout", 1, kMaxTimeoutSeconds).value_or(kDefaultTimeoutSeconds));
}

void readFolders(const ConfigReader& reader, MultiConfig& config) {
  config.confDir = readPath(reader, "confDir", "/etc/cni/multi/net.d");
  config.cniDir = readPath(reader, "cniDir", "/var/lib/cni/multi");
  config.binDir = readPath(reader, "binDir", "");
}

}  // namespace

Result<MultiConfig> parseMultiConfig(const cni::Request& request) {
  Problems problems;
  const ConfigReader reader(*request.config, "", problems);
  MultiConfig config;
  config.defaults.version = request.version;
  readFolders(reader, config);
  readDelegates(request, reader, config);
  readClusterNetwork(reader, config);
  readReferences(reader, config);
  readNetworks(reader, config);
  readNamespaces(reader, config);
  readApi(reader, config);
  config.readinessIndicatorFile = readPath(reader, "readinessindicatorfile", "");
  config.parallel = reader.boolean("parallel", true);
  config.runtimeConfig = reader.raw("runtimeConfig");
  config.args = reader.raw("args");
  TRY(problems.take());
  return config;
}

MultiConfig parseForDel(const cni::Request& request) {
  Problems ignored;
  MultiConfig config;
  readFolders(ConfigReader(*request.config, "", ignored), config);
  return config;
}

}  // namespace culvert::plugins::multi
