#pragma once

#include <nlohmann/json_fwd.hpp>

#include "daemons/routing/plan.h"

namespace culvert::routing {

/// The annotations by which nodes that still run flannel (routing.flannel) or Calico
/// (routing.calico) reach this one's VXLAN devices; nothing without these settings. Pure.
nlohmann::json annotationsForOthers(const Surroundings& here);

}  // namespace culvert::routing
