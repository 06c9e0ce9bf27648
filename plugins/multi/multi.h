#pragma once

#include "cni/plugin.h"

namespace culvert::plugins {

/// Several networks for one container (docs/plugins/multi.md).
extern const cni::Plugin kMulti;

}  // namespace culvert::plugins
