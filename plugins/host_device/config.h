#pragma once

#include <optional>
#include <string>

#include "base/mac.h"
#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::plugins {

struct HostDeviceConfig {
  // How the device is found: the first that is set counts.
  std::string device;             // its name
  std::optional<MacAddress> mac;  // "hwaddr"
  std::string kernelPath;         // below /sys/devices/
  std::string pciId;              // "0000:04:00.5", lower case
  std::string auxiliaryId;        // on the auxiliary bus: "mlx5_core.sf.4"

  std::optional<bool> dpdkMode;  // absent: the driver of pciId says
  std::string ipamType;          // empty: the device is only set up
  cni::Dns dns;                  // replaces IPAM's, even when empty

  bool hasSelector() const;
};

/// A configuration without selector is one for STATUS and GC only, which the runtime does not tell
/// the device of a container (capability "deviceID").
Result<HostDeviceConfig> parseHostDeviceConfig(const cni::Request& request);

}  // namespace culvert::plugins
