#pragma once

#include "plugins/bridge/config.h"

namespace culvert::plugins {

/// CHECK: the bridge, both ends of the pair, addresses, routes, masquerade and spoof check are as
/// ADD left them; kCheckFailed names the first that is not.
Result<void> verifyBridge(const cni::Request& request, const BridgeConfig& config);

/// STATUS: kNotAvailable (50) if ADD would fail: the bridge's name belongs to something else, its
/// address clashes with the configured gateway. kLimited (51) if the bridge is there but the host
/// does not forward: its containers are cut off until the next ADD.
Result<void> bridgeStatus(const cni::Request& request, const BridgeConfig& config);

}  // namespace culvert::plugins
