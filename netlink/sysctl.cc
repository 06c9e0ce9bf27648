#include "netlink/sysctl.h"

#include <fcntl.h>

#include <cerrno>

#include "base/fd.h"
#include "base/file.h"

namespace culvert::netlink {
namespace {

constexpr std::size_t kMaxSysctlBytes = 65536;

Result<std::string> fileOf(const std::string& path) {
  if (path.find("..") != std::string::npos) {
    return makeError(Errc::kInvalidConfig, "sysctl '" + path + "' leaves /proc/sys/net");
  }
  return "/proc/sys/net/" + path;
}

}  // namespace

Result<std::string> readSysctl(const std::string& path) {
  const std::string file = TRY(fileOf(path));
  std::string value = TRY(readFile(file, kMaxSysctlBytes));
  value.erase(value.find_last_not_of(" \t\n") + 1);
  return value;
}

Result<void> writeSysctl(const std::string& path, const std::string& value) {
  const std::string file = TRY(fileOf(path));
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fromErrno(errno, "open " + file);
  return writeAll(fd.get(), value).context("set " + file + " to '" + value + "'");
}

Result<void> ensureSysctl(const std::string& path, const std::string& value) {
  if (TRY(readSysctl(path)) == value) return {};
  return writeSysctl(path, value);
}

}  // namespace culvert::netlink
