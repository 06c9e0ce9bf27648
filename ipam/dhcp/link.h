#pragma once

#include <string>

#include "base/result.h"

namespace culvert::ipam::dhcp {

/// Makes the container's interface ready to speak: up, and for DHCPv6 with a usable link-local
/// address, which is awaited (5 s at most, then kTryAgain). kInvalidConfig if there is no such
/// interface.
Result<void> prepareLink(const std::string& netnsPath, const std::string& ifName, bool v6);

}  // namespace culvert::ipam::dhcp
