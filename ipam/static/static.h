#pragma once

#include "cni/plugin.h"

namespace culvert::ipam {

/// The IPAM plugin `static`: hands out the addresses it was told. It keeps no state, so DEL, GC
/// and STATUS only look at the configuration; CHECK compares it with prevResult.
extern const cni::Plugin kStatic;

}  // namespace culvert::ipam
