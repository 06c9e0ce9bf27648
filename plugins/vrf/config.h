#pragma once

#include <string>

#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::plugins {

struct VrfConfig {
  std::string name;         // "vrfname"
  std::uint32_t table = 0;  // 0: one that nothing uses
};

Result<VrfConfig> parseVrfConfig(const cni::Request& request);

}  // namespace culvert::plugins
