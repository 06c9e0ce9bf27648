#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "cni/plugin.h"
#include "netlink/rtnl.h"
#include "plugins/shared/record.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {

/// What a device was at home: to recognise it, and to make it that again.
struct DeviceHome {
  std::string name, alias;
  std::string kind, parentDevice;  // of hardware the kind is empty
  std::optional<MacAddress> permanentMac, mac;
  std::uint32_t mtuBytes = 0;  // 0: not known
  bool up = false;
  bool moved = false;  // false: the move may not have happened

  static DeviceHome of(const netlink::Link& link);
  nlohmann::json json() const;
  /// Nothing if the record does not tell of a device.
  static std::optional<DeviceHome> from(const Record& record);
};

/// Into the container under the request's interface name, its home's name in its alias: one
/// message. If the kernel stops half way the device is brought back.
Result<netlink::Link> moveIn(Sandbox& sandbox, netlink::Rtnl& host, const netlink::Link& device,
                             const std::string& ifName);

/// Brings the device of `record` home, from wherever it is: the container, under whatever name;
/// or the initial namespace, where the kernel puts hardware whose namespace ends. Restores name,
/// alias, MAC, MTU and whether it was up. A device that is nowhere is success (`false`). If the
/// host's name is taken meanwhile (kAlreadyExists) the device stays as it is.
Result<bool> bringHome(const Record& record, bool wait);

/// The same for a device that the reference plugin has moved, of which only the alias tells.
Result<void> bringHomeByAlias(const cni::Request& request);

}  // namespace culvert::plugins
