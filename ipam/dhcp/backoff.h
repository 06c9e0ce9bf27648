#pragma once

#include <algorithm>

#include "ipam/dhcp/lease.h"

namespace culvert::ipam::dhcp {

/// How long and how often to ask; the daemon's flags.
struct Retry {
  Duration timeout{10'000};         // -timeout: how long an offer is pursued
  Duration resendMax{62'000};       // -resendmax: the longest pause between two messages
  Duration resendTimeout{208'000};  // -resendtimeout: when ADD fails
};

/// Pauses between messages that nobody answers: 250 ms, then 1, 2, 4, ... s up to a maximum, each
/// a tenth more or less (RFC 2131 section 4.1, RFC 8415 section 15). The first is short because
/// the first message is the one that is lost when a bridge does not forward to its new port yet.
class Backoff {
 public:
  Backoff() = default;
  Backoff(Duration max, const Random& random) : max_(max), random_(&random) {}

  Duration next() {
    const Duration base = std::min(count_ == 0 ? kFirst : kSecond * (1 << (count_ - 1)), max_);
    count_ = std::min(count_ + 1, kMaxShift);
    return jittered(base, *random_);
  }

  static Duration jittered(Duration base, const Random& random) {
    const auto spread = base.count() / 10;
    if (spread == 0) return base;
    return base - Duration(spread) + Duration(random() % (2 * static_cast<std::uint64_t>(spread)));
  }

 private:
  static constexpr Duration kFirst{250}, kSecond{1000};
  static constexpr int kMaxShift = 16;
  Duration max_{62'000};
  const Random* random_ = nullptr;
  int count_ = 0;
};

/// The pause between two attempts to renew: half of what is left until `until`, but at least a
/// minute, or a twentieth of a short lease (RFC 2131 section 4.4.5).
inline Duration renewalPause(Instant now, Instant until, Duration lease) {
  const Duration least = std::min<Duration>(std::chrono::minutes(1), lease / 20);
  return std::max<Duration>((until - now) / 2, std::max<Duration>(least, Duration(250)));
}

/// What a message or a timer led to.
enum class Event {
  kNone,
  kBound,    // a lease where there was none
  kRenewed,  // the same lease, for longer
  kGaveUp,   // no lease in the time there was
  kLost,     // the lease is over: expired, or refused by the server
};

}  // namespace culvert::ipam::dhcp
