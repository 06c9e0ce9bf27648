#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace culvert::routing {

/// Removes from this host what routing keeps there: routes and next hops of our protocol, devices
/// with our alias, our nftables table, and `files`. Sysctls stay: others may rely on them by now.
/// Tries everything; the error is the first. `removed` hears of each thing.
Result<void> cleanUp(const std::vector<std::string>& files,
                     const std::function<void(const std::string&)>& removed);

}  // namespace culvert::routing
