#include "base/netns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace culvert {

Result<NetNs> NetNs::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fromErrno(errno, "open network namespace '" + path + "'");
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
    return makeError(Errc::kInvalidNetns, "'" + path + "' is not a network namespace");
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fromErrno(errno, "stat '" + path + "'");
  return NetNs(std::move(fd), info.st_dev, info.st_ino);
}

Result<void> NetNs::enter() const {
  if (::setns(fd_.get(), CLONE_NEWNET) != 0) return fromErrno(errno, "enter network namespace");
  return {};
}

void NetNs::enterOrAbort() const {
  if (::setns(fd_.get(), CLONE_NEWNET) == 0) return;
  std::perror("cannot return to the original network namespace");
  std::abort();
}

}  // namespace culvert
