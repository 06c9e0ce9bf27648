#include "ipam/dhcp/loop.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>

#include "ipam/dhcp/transport.h"

namespace culvert::ipam::dhcp {

Result<std::unique_ptr<Loop>> Loop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fromErrno(errno, "epoll_create1");
  UniqueFd timer(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return fromErrno(errno, "timerfd_create");
  std::unique_ptr<Loop> loop(new Loop(std::move(epoll), std::move(timer)));
  const int fd = loop->timer_.get();
  TRY(loop->watch(fd, EPOLLIN, [fd] {
    std::uint64_t expirations = 0;
    while (::read(fd, &expirations, sizeof expirations) > 0) {
    }
  }));
  return loop;
}

Result<void> Loop::watch(int fd, std::uint32_t events, Handler handler) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const int operation = handlers_.contains(fd) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) return fromErrno(errno, "epoll_ctl");
  handlers_[fd] = std::make_shared<Handler>(std::move(handler));
  return {};
}

void Loop::unwatch(int fd) {
  if (handlers_.erase(fd) == 0) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::schedule(const void* owner, Instant when, Handler handler) {
  cancel(owner);
  if (when == kNever) return;
  timers_[owner] = {when, std::make_shared<Handler>(std::move(handler))};
  order_.emplace(when, owner);
}

void Loop::cancel(const void* owner) {
  const auto found = timers_.find(owner);
  if (found == timers_.end()) return;
  order_.erase({found->second.when, owner});
  timers_.erase(found);
}

void Loop::callDueTimers() {
  const Instant time = now();
  while (!order_.empty() && order_.begin()->first <= time) {
    const void* owner = order_.begin()->second;
    const std::shared_ptr<Handler> handler = timers_[owner].handler;
    cancel(owner);
    (*handler)();
  }
}

Result<void> Loop::armTimer() {
  itimerspec spec{};
  if (!order_.empty()) {
    const auto count = std::max<std::int64_t>(order_.begin()->first.count(), 1);
    spec.it_value.tv_sec = count / 1000;
    spec.it_value.tv_nsec = count % 1000 * 1'000'000;
  }
  if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0) return {};
  return fromErrno(errno, "timerfd_settime");
}

Result<void> Loop::run() {
  std::array<epoll_event, 64> events{};
  while (running_) {
    callDueTimers();
    if (!running_) break;
    TRY(armTimer());
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) return fromErrno(errno, "epoll_wait");
    for (int i = 0; i < count; ++i) {
      const auto found = handlers_.find(events[static_cast<std::size_t>(i)].data.fd);
      if (found == handlers_.end()) continue;  // gone meanwhile
      const std::shared_ptr<Handler> handler = found->second;
      (*handler)();
    }
  }
  return {};
}

}  // namespace culvert::ipam::dhcp
