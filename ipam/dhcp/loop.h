#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "base/fd.h"
#include "base/result.h"
#include "ipam/dhcp/lease.h"

namespace culvert::ipam::dhcp {

/// One thread's event loop: epoll, and a timerfd for the nearest deadline. Handlers may watch and
/// unwatch whatever they like, themselves included.
class Loop {
 public:
  using Handler = std::function<void()>;

  static Result<std::unique_ptr<Loop>> create();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// `events` is EPOLLIN, EPOLLOUT or both; EPOLLERR and EPOLLHUP call the handler as well. One
  /// handler for each descriptor: a second one replaces the first.
  Result<void> watch(int fd, std::uint32_t events, Handler handler);
  void unwatch(int fd);

  /// Calls `handler` once, at `when` or soon after. One timer for each `owner`; kNever cancels.
  void schedule(const void* owner, Instant when, Handler handler);
  void cancel(const void* owner);

  /// Runs until stop(); an error is one of epoll itself.
  Result<void> run();
  void stop() { running_ = false; }

 private:
  struct Timer {
    Instant when;
    std::shared_ptr<Handler> handler;
  };
  Loop(UniqueFd epoll, UniqueFd timer) : epoll_(std::move(epoll)), timer_(std::move(timer)) {}
  void callDueTimers();
  Result<void> armTimer();

  UniqueFd epoll_, timer_;
  std::map<int, std::shared_ptr<Handler>> handlers_;
  std::map<const void*, Timer> timers_;
  std::set<std::pair<Instant, const void*>> order_;  // of timers_
  bool running_ = true;
};

}  // namespace culvert::ipam::dhcp
