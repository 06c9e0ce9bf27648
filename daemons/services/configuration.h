#pragma once

#include <string>
#include <vector>

#include "daemons/frame/config.h"
#include "daemons/frame/schema.h"
#include "daemons/services/settings.h"

namespace culvert::services {

/// What the role runs with: culvertd.yaml over a KubeProxyConfiguration over defaults.
struct Configuration {
  Settings settings;
  std::string hostname;               // of the KubeProxyConfiguration; empty: none
  std::vector<std::string> warnings;  // of the KubeProxyConfiguration
};

std::vector<frame::Key> configurationKeys();

/// Reads the section `services` and the file that it names. What is wrong goes to `problems`, and
/// the result must not be used then.
Configuration readConfiguration(const frame::Config& config, cni::Problems& problems);

/// The KubeProxyConfiguration's kubeconfig, empty for a pod's service account; nothing without a
/// usable KubeProxyConfiguration.
std::optional<std::string> kubeconfigOf(const frame::Config& config);

/// What runs, in the terms of a KubeProxyConfiguration: the answer of /configz.
nlohmann::json toKubeProxyConfig(const Settings& settings, const std::string& node);

}  // namespace culvert::services
