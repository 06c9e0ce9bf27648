#include "plugins/vrf/config.h"

#include "cni/config_reader.h"
#include "plugins/shared/config.h"

namespace culvert::plugins {

Result<VrfConfig> parseVrfConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  VrfConfig config;
  config.name = readInterfaceName(reader, "vrfname", "");
  config.table = static_cast<std::uint32_t>(reader.integer("table", 0, UINT32_MAX).value_or(0));
  if (config.name == request.ifName && !config.name.empty())
    reader.problem("vrfname", "is the container's interface itself");
  TRY(problems.take());
  if (config.name.empty()) {
    return makeError(Errc::kInvalidConfig,
                     "vrfname: configuration is expected to have a valid vrf name");
  }
  return config;
}

}  // namespace culvert::plugins
