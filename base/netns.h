#pragma once

#include <sched.h>

#include <string>
#include <type_traits>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace culvert {

/// A network namespace we can enter: the open /run/netns/<name> or /proc/<pid>/ns/net file.
/// Holding it keeps the namespace alive (namespaces(7)).
class NetNs {
 public:
  /// kNotFound if nothing is at `path`; kInvalidNetns if it is something else than a network
  /// namespace (checked with NS_GET_NSTYPE, ioctl_ns(2)).
  static Result<NetNs> open(const std::string& path);
  static Result<NetNs> current() { return open("/proc/thread-self/ns/net"); }

  int fd() const noexcept { return fd_.get(); }

  /// Whether both are the same namespace (st_dev and st_ino of the nsfs file).
  bool sameAs(const NetNs& other) const noexcept {
    return device_ == other.device_ && inode_ == other.inode_;
  }

  /// st_dev and st_ino, by which it can be recognised later.
  unsigned long device() const noexcept { return device_; }
  unsigned long inode() const noexcept { return inode_; }

  /// Runs `body` on this thread inside the namespace and always comes back. If the way back is
  /// barred the process aborts: carrying on in the wrong namespace would program the wrong host.
  /// Daemons call this only from a helper thread, never from the event loop.
  template <class Body>
  auto run(Body body) const -> std::invoke_result_t<Body> {
    const NetNs home = TRY(current());
    TRY(enter());
    const Return guard(home);
    return body();
  }

 private:
  class Return {
   public:
    explicit Return(const NetNs& home) : home_(home) {}
    Return(const Return&) = delete;
    Return& operator=(const Return&) = delete;
    ~Return() { home_.enterOrAbort(); }

   private:
    const NetNs& home_;
  };

  NetNs(UniqueFd fd, unsigned long device, unsigned long inode)
      : fd_(std::move(fd)), device_(device), inode_(inode) {}
  Result<void> enter() const;
  void enterOrAbort() const;

  UniqueFd fd_;
  unsigned long device_;
  unsigned long inode_;
};

}  // namespace culvert
