#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace culvert::ipam {

/// An exclusive flock(2) on a file in a directory, created if missing (mode 0750): the reference
/// plugin's lock, so that it and we take turns. The kernel drops it when the process dies.
class FileLock {
 public:
  /// Sleeps in the kernel until the lock is ours. kTryAgain if somebody else has held it for
  /// `patience`, naming the holder in `details` if /proc/locks does. Uses SIGALRM on this thread
  /// while it waits. Symbolic links, directories, FIFOs and so on are refused, not followed.
  static Result<FileLock> acquire(int directory, const std::string& name,
                                  std::chrono::milliseconds patience);

  /// Whether the file was unlinked while we waited: then the lock keeps nobody out.
  bool isStale() const noexcept { return stale_; }

 private:
  UniqueFd fd_;
  bool stale_ = false;
};

}  // namespace culvert::ipam
