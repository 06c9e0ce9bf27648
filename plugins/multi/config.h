#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "cni/plugin.h"
#include "plugins/multi/network.h"

namespace culvert::plugins::multi {

/// The configuration; docs/plugins/multi.md describes the keys. Names are Multus' where the thing
/// is the same.
struct MultiConfig {
  std::string clusterNetwork;      // a name, or an absolute path; else `delegates`
  std::vector<Network> delegates;  // the first is the cluster-wide network
  std::vector<std::string> defaultNetworks;
  std::vector<Selection> networks;  // for containers without a pod or annotation
  std::string confDir, cniDir, binDir;
  std::string kubeconfig, apiServer;  // kubeconfig empty: no API server
  std::chrono::milliseconds apiTimeout{};
  bool namespaceIsolation = false;
  std::vector<std::string> globalNamespaces;
  std::vector<std::string> systemNamespaces;
  std::string multusNamespace;
  std::string readinessIndicatorFile;
  bool parallel = true;
  nlohmann::json runtimeConfig, args;  // as the runtime gave them; null if it gave none

  NetworkDefaults defaults;  // for lists that leave out their version
};

/// kInvalidConfig names everything that is wrong.
Result<MultiConfig> parseMultiConfig(const cni::Request& request);

/// For DEL, which must work whatever became of the rest: cniDir and binDir alone, defaults where
/// they are broken.
MultiConfig parseForDel(const cni::Request& request);

}  // namespace culvert::plugins::multi
