#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "plugins/multi/manifest.h"

namespace culvert::plugins::multi {

/// The devices of one resource that the kubelet's device manager gave to a pod, sorted, from the
/// JSON of its checkpoint. kDecode if it is none.
Result<std::vector<std::string>> parseCheckpoint(const nlohmann::json& checkpoint,
                                                 const std::string& podUid,
                                                 const std::string& resource);

/// Hands out the devices that the kubelet allocated to a pod, one to each network that names the
/// resource (k8s.v1.cni.cncf.io/resourceName).
class Devices {
 public:
  /// kInvalidConfig if none is left.
  Result<std::string> next(const std::string& resource, const Pod& pod);

 private:
  std::map<std::string, std::vector<std::string>> left_;
};

}  // namespace culvert::plugins::multi
