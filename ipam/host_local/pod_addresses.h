#pragma once

#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::ipam {

/// With `ipam.podAddresses`, which names the control socket of the node's culvertd, asks it what
/// addresses the pod in CNI_ARGS wants, and returns the request with its answer: the daemon's
/// ranges instead of those of the configuration, and the fixed addresses requested. The same
/// request without that key, or if CNI_ARGS names no pod.
///
/// kTryAgain if the daemon cannot be asked or does not know yet; kInvalidConfig: it refuses, in its
/// own words.
Result<cni::Request> withPodAddresses(const cni::Request& request);

}  // namespace culvert::ipam
