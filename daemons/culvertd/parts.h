#pragma once

#include "daemons/frame/role.h"

namespace culvert {

/// The roles and the source that culvertd is made of; culvertctl checks configurations with them.
const frame::Parts& daemonParts();

}  // namespace culvert
