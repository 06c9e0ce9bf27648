#pragma once

#include "daemons/frame/role.h"

namespace culvert::services {

/// The role `services`: kube-proxy's work.
frame::RoleType roleType();

}  // namespace culvert::services
