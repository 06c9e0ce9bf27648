#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "plugins/multi/manifest.h"

namespace culvert::plugins::multi {

/// Where pods and NetworkAttachmentDefinitions come from. One object serves one invocation.
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  /// Nothing if there is no such object.
  virtual Result<std::optional<Pod>> findPod(const std::string& ns, const std::string& name) = 0;
  virtual Result<std::optional<Definition>> findDefinition(const std::string& ns,
                                                           const std::string& name) = 0;
  /// Whether a network that has no NetworkAttachmentDefinition may be a conflist of that name.
  virtual bool allowsFiles() const = 0;
  /// Sets the pod's annotation k8s.v1.cni.cncf.io/network-status, where there is a pod to write to.
  virtual Result<void> writeStatus(const Pod& pod, const std::string& status) = 0;
};

}  // namespace culvert::plugins::multi
