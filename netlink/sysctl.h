#pragma once

#include <string>

#include "base/result.h"

namespace culvert::netlink {

/// Reads or writes /proc/sys/net/<path> of the calling thread's network namespace. `path` uses
/// slashes ("ipv4/conf/eth0/arp_notify"): interface names may contain dots. Values are trimmed.
Result<std::string> readSysctl(const std::string& path);
Result<void> writeSysctl(const std::string& path, const std::string& value);

/// Writes only if the value differs: some sysctls restart work in the kernel when written.
Result<void> ensureSysctl(const std::string& path, const std::string& value);

}  // namespace culvert::netlink
