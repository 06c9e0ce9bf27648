#pragma once

#include "cni/plugin.h"
#include "plugins/multi/config.h"
#include "plugins/multi/folder.h"
#include "plugins/multi/source.h"

namespace culvert::plugins::multi {

/// What an ADD is about to do.
struct Plan {
  std::vector<Attachment> attachments;  // the cluster-wide network first, then in selected order
  std::optional<Pod> pod;               // whose status can be written
};

/// Decides, from the configuration, the pod and the definitions, which networks the container gets.
/// Nothing but `source` and files is asked, and nothing is changed. kInvalidConfig, kTryAgain (the
/// API server), kUnknownContainer (it knows no such pod).
Result<Plan> makePlan(const cni::Request& request, const MultiConfig& config, const Folder& folder,
                      Source& source);

/// The networks that every container gets, without asking the API server: STATUS, GC, and DEL where
/// no record is left. `clusterOnly`: just the cluster-wide one.
Result<std::vector<Attachment>> planWithoutPod(const cni::Request& request,
                                               const MultiConfig& config, const Folder& folder,
                                               bool clusterOnly);

/// The pod that CNI_ARGS name (K8S_POD_NAME, K8S_POD_NAMESPACE, K8S_POD_UID); name empty: none.
struct PodReference {
  std::string ns, name, uid;
};
Result<PodReference> readPodReference(const std::string& args);

/// Refuses two attachments with one interface name, and default routes of one family that two
/// selections claim. kInvalidConfig.
Result<void> refuseContradictions(const std::vector<Attachment>& attachments);

}  // namespace culvert::plugins::multi
