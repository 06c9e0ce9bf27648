#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cni/plugin.h"
#include "plugins/multi/network.h"

namespace culvert::plugins::multi {

/// The value of k8s.v1.cni.cncf.io/network-status (standard 1.3, section 5), in the attachments'
/// order.
nlohmann::json networkStatus(const std::vector<Attachment>& attachments);

/// /run/culvert/multi/<container>-<interface>.json: the same for hosts where there is no pod to
/// write it to. Readable to everyone.
Result<void> writeStatusFile(const cni::Request& request, const nlohmann::json& status);
Result<void> removeStatusFile(const std::string& containerId, const std::string& ifName);

}  // namespace culvert::plugins::multi
