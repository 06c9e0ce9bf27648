#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace culvert::services {

/// What a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) means for us.
struct KubeProxyConfig {
  /// What applies, as the section `services` of culvertd.yaml would say it.
  nlohmann::json section = nlohmann::json::object();
  std::string hostname;    // hostnameOverride
  std::string kubeconfig;  // clientConnection.kubeconfig
  /// "12: iptables.syncPeriod: ...": fields that are set to something else than their default and
  /// do not apply, and fields that nobody knows, each with its line.
  std::vector<std::string> warnings;
};

/// kInvalidConfig with a line "12: clusterCIDR: ..." for each value that is wrong; what is no such
/// object at all likewise.
Result<KubeProxyConfig> parseKubeProxyConfig(std::string_view text);

/// The same of a file, whose name stands before each line number.
Result<KubeProxyConfig> readKubeProxyConfig(const std::string& path);

}  // namespace culvert::services
