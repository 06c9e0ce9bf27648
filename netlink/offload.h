#pragma once

#include <string>

#include "base/fd.h"
#include "base/netns.h"
#include "base/result.h"

namespace culvert::netlink {

/// What links leave to their hardware (ethtool(8), uapi/linux/ethtool.h).
class Offload {
 public:
  static Result<Offload> open();
  static Result<Offload> openIn(const NetNs& ns);

  /// Whether checksums of what `link` sends may be left to the device: NETIF_F_CSUM_MASK, of which
  /// tx-checksum-ip-generic is what a VXLAN device has. kNotFound without such a link.
  Result<bool> txChecksum(const std::string& link);
  /// `ethtool -K LINK tx off`: for underlays whose devices corrupt the inner checksum of tunnelled
  /// packets. Only written if it differs.
  Result<void> ensureTxChecksum(const std::string& link, bool on);

 private:
  explicit Offload(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<unsigned> call(const std::string& link, unsigned command, unsigned value);

  UniqueFd fd_;
};

}  // namespace culvert::netlink
