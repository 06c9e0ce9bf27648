#pragma once

#include <memory>

#include "daemons/frame/role.h"
#include "daemons/routing/local_network.h"

namespace culvert::conflist {

/// The role `cni`: keeps the runtimes' network configuration as the board says, once routing is
/// ready.
frame::RoleType roleType(std::shared_ptr<routing::LocalNetworkBoard> board);

}  // namespace culvert::conflist
