#pragma once

#include "cni/plugin.h"

namespace culvert::ipam {

/// The IPAM plugin `host-local`: addresses from ranges, remembered as one file per address in the
/// reference plugin's on-disk format, so that both can work on one directory at the same time.
/// GC and STATUS are real; DEL, CHECK and GC need nothing but the directory.
extern const cni::Plugin kHostLocal;

}  // namespace culvert::ipam
