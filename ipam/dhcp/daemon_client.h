#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "ipam/dhcp/protocol.h"

namespace culvert::ipam::dhcp {

/// A connection to the daemon, for one request.
class DaemonClient {
 public:
  /// kNotAvailable if nobody listens at `socketPath`.
  static Result<DaemonClient> connect(const std::string& socketPath);

  /// Sends the request and waits for the answer, for ever if `timeout` is absent: the daemon ends
  /// an ADD itself, and the runtime may do so earlier. kNotAvailable if the daemon does not answer
  /// in time or ends meanwhile.
  Result<Leases> ask(const DaemonRequest& request, std::optional<Duration> timeout) const;

 private:
  explicit DaemonClient(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace culvert::ipam::dhcp
