#include "hostfw/turn.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace culvert::hostfw {

Turn::Turn() : ns_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kPatience = std::chrono::seconds(2);
  constexpr auto kPause = std::chrono::microseconds(200);
  const auto deadline = Clock::now() + kPatience;
  while (ns_ && ::flock(ns_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
         Clock::now() < deadline) {
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace culvert::hostfw
