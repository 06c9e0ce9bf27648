#pragma once

#include "base/result.h"
#include "netlink/rtnl.h"
#include "plugins/host_device/config.h"

namespace culvert::plugins {

/// The host's interface that the configuration selects; kNotFound if it is not (or not at the
/// moment) on the host.
Result<netlink::Link> findDevice(netlink::Rtnl& host, const HostDeviceConfig& config);

/// Whether a driver of user space has the device, so that there is no interface to move: said by
/// "DPDKMode", or for a PCI device by its driver. kNotFound if there is no such PCI device.
Result<bool> isUserspaceDevice(const HostDeviceConfig& config);

}  // namespace culvert::plugins
