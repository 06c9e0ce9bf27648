#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace culvert::sources {

/// How long to wait before trying again: twice as long each time, from a quarter of a second to 30
/// seconds, each between half and all of that, so that a thousand nodes do not return at once.
class Backoff {
 public:
  std::chrono::milliseconds next() {
    std::uniform_int_distribution<int> jitter(current_ / 2, current_);
    const int wait = jitter(random_);
    current_ = std::min(current_ * 2, kMost);
    return std::chrono::milliseconds(wait);
  }
  void reset() { current_ = kLeast; }

 private:
  static constexpr int kLeast = 250;
  static constexpr int kMost = 30000;
  std::minstd_rand random_{std::random_device()()};
  int current_ = kLeast;
};

}  // namespace culvert::sources
