#include "ipam/host_local/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "base/file.h"

#ifndef sigev_notify_thread_id  // glibc before 2.38
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace culvert::ipam {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

timespec toTimespec(milliseconds duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count() * 1'000'000};
}

/// Interrupts this thread's blocking system calls (EINTR) once `delay` is over, and again every
/// 50 ms, so that a signal that arrives just before the call begins does no harm.
class Interrupter {
 public:
  explicit Interrupter(milliseconds delay) {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // without SA_RESTART
    ::sigaction(SIGALRM, &action, &oldAction_);
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    ::pthread_sigmask(SIG_UNBLOCK, &alarm, &oldMask_);

    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event.sigev_notify_thread_id = ::gettid();
    armed_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    const itimerspec when{.it_interval = toTimespec(milliseconds(50)),
                          .it_value = toTimespec(delay)};
    if (armed_) armed_ = ::timer_settime(timer_, 0, &when, nullptr) == 0;
  }
  ~Interrupter() {
    if (armed_) ::timer_delete(timer_);
    ::pthread_sigmask(SIG_SETMASK, &oldMask_, nullptr);
    ::sigaction(SIGALRM, &oldAction_, nullptr);
  }
  Interrupter(const Interrupter&) = delete;
  Interrupter& operator=(const Interrupter&) = delete;

  bool armed() const noexcept { return armed_; }

 private:
  timer_t timer_{};
  bool armed_ = false;
  struct sigaction oldAction_ {};
  sigset_t oldMask_{};
};

/// "held by process 4711", from a line of /proc/locks such as
/// "3: FLOCK  ADVISORY  WRITE 4711 fd:00:131 0 EOF".
std::string holderOf(int fd) {
  struct stat info {};
  const auto locks = readFile("/proc/locks", 1U << 20);
  if (!locks || ::fstat(fd, &info) != 0) return {};
  std::array<char, 64> file{};
  (void)std::snprintf(file.data(), file.size(), " %02x:%02x:%lu ", major(info.st_dev),
                      minor(info.st_dev), info.st_ino);
  const std::size_t at = locks->find(file.data());
  if (at == std::string::npos) return {};
  const std::size_t pid = locks->rfind(' ', at - 1) + 1;
  return "held by process " + locks->substr(pid, at - pid);
}

Result<void> lockWithin(int fd, milliseconds patience) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return fromErrno(errno, "flock");
  const auto deadline = steady_clock::now() + patience;
  const Interrupter interrupter(patience);
  if (!interrupter.armed()) return makeError(Errc::kTryAgain, "no timer to wait for the lock with");
  while (::flock(fd, LOCK_EX) != 0) {
    if (errno != EINTR) return fromErrno(errno, "flock");
    if (steady_clock::now() < deadline) continue;
    return makeError(Errc::kTryAgain,
                     "another process has held it for " + std::to_string(patience.count()) + " ms",
                     holderOf(fd));
  }
  return {};
}

}  // namespace

Result<FileLock> FileLock::acquire(int directory, const std::string& name, milliseconds patience) {
  FileLock lock;
  lock.fd_ = UniqueFd(::openat(directory, name.c_str(),
                               O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0750));
  if (!lock.fd_) return fromErrno(errno, "open " + name);
  TRY(lockWithin(lock.fd_.get(), patience).context(name));
  struct stat info {};
  if (::fstat(lock.fd_.get(), &info) != 0) return fromErrno(errno, "stat " + name);
  if (!S_ISREG(info.st_mode)) return makeError(Errc::kIo, name + " is not a regular file");
  lock.stale_ = info.st_nlink == 0;
  return lock;
}

}  // namespace culvert::ipam
