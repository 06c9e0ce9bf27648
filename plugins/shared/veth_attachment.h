#pragma once

#include <string>

#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::plugins {

/// DEL of an attachment by veth (bridge, ptp): the pair, the addresses, the firewall state. Best
/// effort and repeatable (CNI 1.1.0 section 2, "DEL"): needs neither the namespace nor prevResult,
/// nor the configuration that ADD had, tries every step and reports all failures.
Result<void> removeAttachment(const cni::Request& request);

/// GC: the addresses, links and firewall state of attachments of the network that are not valid any
/// more; all steps are tried. Without a list of valid ones only the IPAM plugin (`ipamType`, may be
/// empty) is asked.
Result<void> collectAttachments(const cni::Request& request, const std::string& ipamType);

/// The part of removeAttachment() that an ADD undoes when it fails after it.
Result<void> undoHostFirewall(const cni::Request& request);

}  // namespace culvert::plugins
