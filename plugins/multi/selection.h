#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace culvert::plugins::multi {

/// One element of a network selection: what a pod's annotation k8s.v1.cni.cncf.io/networks asks for
/// (Kubernetes Network Custom Resource Definition De-facto Standard 1.3, section 4.1).
struct Selection {
  std::string name;    // of the NetworkAttachmentDefinition or conflist; an identifier, no path
  std::string ns;      // its namespace; empty: the pod's
  std::string ifName;  // empty: net1, net2, ... by position
  /// By capability, as CNI's CONVENTIONS.md shapes them: "ips", "mac", "portMappings", "bandwidth",
  /// "infinibandGUID", "deviceID". Always an object.
  nlohmann::json runtimeConfig = nlohmann::json::object();
  std::string device;      // what the kubelet allocated for the network's resource; may be empty
  nlohmann::json cniArgs;  // "cni-args": an object, or null
  /// "default-route": the gateways. An empty list keeps this network's own default routes.
  std::optional<std::vector<IpAddress>> defaultRoute;
};

/// Either form of the annotation: "a,ns/b@if" or the JSON list. kInvalidConfig names the part that
/// is wrong, below `where` (the annotation or key it came from).
Result<std::vector<Selection>> parseSelections(std::string_view text, const std::string& where);

/// The JSON list itself, as the configuration may hold it.
Result<std::vector<Selection>> parseSelectionList(const nlohmann::json& list,
                                                  const std::string& where);

/// "name" or "namespace/name", as clusterNetwork and defaultNetworks have them.
Result<Selection> parseReference(std::string_view text, const std::string& where);

/// The name of a Kubernetes namespace (DNS-1123 label).
bool isNamespaceName(std::string_view text);

/// The name of a network as it may stand in a URL's path or be compared with file contents.
bool isNetworkName(std::string_view text);

}  // namespace culvert::plugins::multi
