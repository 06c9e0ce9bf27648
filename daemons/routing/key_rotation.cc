#include "daemons/routing/key_rotation.h"

#include <algorithm>

#include "base/digest.h"

namespace culvert::routing {
namespace {

constexpr std::chrono::seconds kWarmUp{10};

}  // namespace

KeyRotation::Time KeyRotation::begin(Time now) const {
  return now - now.time_since_epoch() % std::chrono::duration_cast<Time::duration>(period);
}

/// A point in the second quarter, by the node's name: a thousand nodes do not write to the source
/// at once.
KeyRotation::Time KeyRotation::replacement(Time now) const {
  const auto share = std::stoul(sha512Hex("culvert key " + node, 4), nullptr, 16);  // of 65536
  return begin(now) + std::chrono::duration_cast<Time::duration>(period) / 4 +
         std::chrono::duration_cast<Time::duration>(period) / 4 / 65536 * share;
}

KeyRotation::Time KeyRotation::warmUp(Time now) const {
  return begin(now) + period - std::min<Time::duration>(kWarmUp, period / 8);
}

std::size_t KeyRotation::active(Time now) const {
  if (period.count() == 0) return 0;
  const auto epoch =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()) / period;
  return static_cast<std::size_t>(epoch) % kKeySlots;
}

bool KeyRotation::isDue(std::size_t slot, Time made, Time now) const {
  if (period.count() == 0 || slot == active(now)) return false;
  return now >= replacement(now) && made < replacement(now) && now < warmUp(now);
}

bool KeyRotation::isWarmingUp(Time now) const {
  return period.count() != 0 && now >= warmUp(now);
}

KeyRotation::Time KeyRotation::next(Time now) const {
  if (period.count() == 0) return Time::max();
  for (const Time moment : {replacement(now), warmUp(now)}) {
    if (moment > now) return moment;
  }
  return begin(now) + period;
}

}  // namespace culvert::routing
