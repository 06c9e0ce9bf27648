#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/ip.h"

namespace culvert::routing {

/// What other roles need to know of this node's routing, as of now.
struct LocalNetwork {
  bool ready = false;              // the kernel has been programmed with a whole view
  std::vector<IpPrefix> networks;  // this node's own, for its pods
  std::uint32_t mtuBytes = 0;      // of pods' interfaces; 0: not known yet
  bool operator==(const LocalNetwork&) const = default;
};

/// Where the routing role writes it, and others read and hear of it. On the loop's thread.
class LocalNetworkBoard {
 public:
  const LocalNetwork& now() const { return now_; }
  void set(LocalNetwork network) {
    if (network == now_) return;
    now_ = std::move(network);
    if (hear_) hear_(now_);
  }
  /// Replaces who hears; empty: nobody.
  void onChange(std::function<void(const LocalNetwork&)> hear) { hear_ = std::move(hear); }

 private:
  LocalNetwork now_;
  std::function<void(const LocalNetwork&)> hear_;
};

}  // namespace culvert::routing
