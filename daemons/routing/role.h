#pragma once

#include <memory>

#include "daemons/frame/role.h"
#include "daemons/routing/local_network.h"

namespace culvert::routing {

/// The role `routing`; it tells the board what others need.
frame::RoleType roleType(std::shared_ptr<LocalNetworkBoard> board);

}  // namespace culvert::routing
