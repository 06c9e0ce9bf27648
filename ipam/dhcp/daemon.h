#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ipam/dhcp/backoff.h"

namespace culvert::ipam::dhcp {

inline constexpr std::string_view kDefaultSocket = "/run/cni/dhcp.sock";
inline constexpr std::string_view kDefaultStateDir = "/run/culvert/dhcp";

/// The flags of `dhcp daemon`; the reference's, and -statedir.
struct DaemonOptions {
  std::string pidFile;     // -pidfile: an absolute path, or empty
  std::string hostPrefix;  // -hostprefix: before the paths of network namespaces
  std::string socketPath{kDefaultSocket};
  std::string stateDir{kDefaultStateDir};  // -statedir: where leases are kept
  bool broadcast = false;                  // -broadcast: ask servers to broadcast their answers
  Retry retry;
  bool help = false;
};

/// Reads "-flag value", "-flag=value" and the same with two hyphens, as Go's flag package does;
/// durations are "10s", "1m2s", "500ms". kInvalidConfig names the flag.
Result<DaemonOptions> parseDaemonOptions(const std::vector<std::string>& arguments);

/// Runs the daemon until SIGTERM or SIGINT. Leases outlive it. kAlreadyExists if another daemon has
/// the socket or the state directory.
Result<void> runDaemon(const DaemonOptions& options);

/// `dhcp daemon ARGUMENTS`: the process's exit status.
int daemonMain(const std::vector<std::string>& arguments);

}  // namespace culvert::ipam::dhcp
