#pragma once

#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::plugins {

/// DEL of an attachment by veth (bridge, ptp): the pair, the addresses, the firewall state. Best
/// effort and repeatable (CNI 1.1.0 section 2, "DEL"): needs neither the namespace nor prevResult,
/// nor the configuration that ADD had, tries every step and reports all failures.
Result<void> removeAttachment(const cni::Request& request);

/// The parts of it that an ADD undoes when it fails after them.
Result<void> undoHostFirewall(const cni::Request& request);

}  // namespace culvert::plugins
