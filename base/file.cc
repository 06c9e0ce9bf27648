#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <memory>

namespace culvert {

Result<std::string> readAll(int fd, std::size_t maxBytes) {
  std::string data;
  std::size_t used = 0;
  for (;;) {
    if (data.size() - used < 4096) data.resize(data.size() + (data.empty() ? 8192 : data.size()));
    const ssize_t got = ::read(fd, data.data() + used, data.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fromErrno(errno, "read");
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
    if (used > maxBytes) {
      return makeError(Errc::kDecode, "input exceeds " + std::to_string(maxBytes) + " bytes");
    }
  }
  data.resize(used);
  return data;
}

Result<std::string> readFile(const std::string& path, std::size_t maxBytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fromErrno(errno, "open " + path);
  return readAll(fd.get(), maxBytes).context("read " + path);
}

Result<void> writeAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t put = ::write(fd, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fromErrno(errno, "write");
    data.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> replaceFile(const std::string& path, std::string_view data, unsigned mode) {
  const std::string unfinished = path + ".new";
  (void)::unlink(unfinished.c_str());
  const UniqueFd fd(
      ::open(unfinished.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return fromErrno(errno, "create " + unfinished);
  TRY(writeAll(fd.get(), data).context(unfinished));
  if (::rename(unfinished.c_str(), path.c_str()) != 0) return fromErrno(errno, "replace " + path);
  return {};
}

Result<void> removeFile(const std::string& path) {
  for (const std::string& file : {path, path + ".new"}) {
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) return fromErrno(errno, "remove " + file);
  }
  return {};
}

Result<std::vector<std::string>> listDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fromErrno(errno, "open " + path);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), &::closedir);
  if (!stream) {
    const int err = errno;
    ::close(fd);  // else the stream's
    return fromErrno(err, "read " + path);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return fromErrno(errno, "read " + path);
  return names;
}

Result<void> ensureDirectory(const std::string& path, unsigned mode) {
  if (::mkdir(path.c_str(), mode) == 0) return {};
  if (errno == ENOENT) {
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos || slash == 0) return fromErrno(ENOENT, "create " + path);
    TRY(ensureDirectory(path.substr(0, slash), mode));
    if (::mkdir(path.c_str(), mode) == 0) return {};
  }
  if (errno != EEXIST) return fromErrno(errno, "create directory " + path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return fromErrno(errno, "stat " + path);
  if (!S_ISDIR(info.st_mode)) return fromErrno(ENOTDIR, path);
  return {};
}

}  // namespace culvert
