#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"

// The two kinds of Kubernetes objects that matter here, from the API server or from files.
namespace culvert::plugins::multi {

inline constexpr const char* kDefaultNamespace = "default";

struct Pod {
  std::string ns, name;
  std::string uid;                            // may be empty
  bool isStatic = false;                      // then its mirror's uid is another one
  std::optional<std::string> networks;        // k8s.v1.cni.cncf.io/networks
  std::optional<std::string> defaultNetwork;  // v1.multus-cni.io/default-network
};

/// A NetworkAttachmentDefinition (standard 1.3, section 3).
struct Definition {
  std::string ns, name;
  std::string config;        // spec.config; empty: a conflist of the same name is meant
  std::string resourceName;  // k8s.v1.cni.cncf.io/resourceName: its device plugin's
};

/// metadata.name and metadata.namespace of any object; without a namespace it is in "default".
struct ObjectName {
  std::string kind, ns, name;
};
ObjectName objectName(const nlohmann::json& object);

/// kInvalidConfig names what is wrong, below `where`.
Result<Pod> parsePod(const nlohmann::json& object, const std::string& where);
Result<Definition> parseDefinition(const nlohmann::json& object, const std::string& where);

}  // namespace culvert::plugins::multi
