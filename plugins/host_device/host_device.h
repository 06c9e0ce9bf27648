#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// The plugin `host-device`: moves an interface of the host's into the container, and home again.
/// The name it had is in its alias, as the reference has it, and with all else in a record.
extern const cni::Plugin kHostDevice;

}  // namespace culvert::plugins
