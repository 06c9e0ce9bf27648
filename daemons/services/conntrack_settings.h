#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace culvert::services {

/// How the kernel shall track connections: kube-proxy's `conntrack`. What is not set is left alone.
struct ConntrackSettings {
  std::uint64_t maxPerCore = 0;  // entries; 0: not set
  std::uint64_t min = 131'072;   // entries; counts with maxPerCore only
  std::optional<std::chrono::milliseconds> tcpEstablishedTimeout, tcpCloseWaitTimeout, udpTimeout,
      udpStreamTimeout;  // whole seconds count
  std::optional<bool> tcpBeLiberal;
  bool operator==(const ConntrackSettings&) const = default;
};

/// Entries in all: min(max(maxPerCore * cores, min), 2^20). 0: leave it alone.
std::uint64_t conntrackMax(const ConntrackSettings& settings, unsigned cores);

/// A sysctl below /proc/sys/net.
struct Sysctl {
  std::string path, value;
  bool operator==(const Sysctl&) const = default;
};
/// All but the number of entries.
std::vector<Sysctl> conntrackSysctls(const ConntrackSettings& settings);

/// Writes what differs, in this network namespace, and tries all of them. The number of buckets is
/// raised to a quarter of the entries, and never lowered.
Result<void> applyConntrack(const ConntrackSettings& settings);

}  // namespace culvert::services
