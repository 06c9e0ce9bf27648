#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>

#include "base/fd.h"
#include "base/file.h"
#include "daemons/conflist/conflist.h"

namespace culvert::conflist {
namespace {

constexpr const char* kNames[] = {CULVERT_PLUGIN_NAMES};
constexpr const char* kOwn = "culvert-cni";

Result<std::string> sourceFile(const Settings& settings) {
  if (!settings.plugin.empty()) return settings.plugin;
  char own[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", own, sizeof own);
  if (length <= 0) return fromErrno(errno, "find this executable");
  const std::string path(own, static_cast<std::size_t>(length));
  return path.substr(0, path.rfind('/')) + "/" + kOwn;
}

Result<struct stat> statOf(const std::string& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return fromErrno(errno, "look at " + path);
  return found;
}

/// Same size, same time of change: what we copied, as we copied it.
bool isCopy(const struct stat& source, const struct stat& copy) {
  return S_ISREG(copy.st_mode) && source.st_size == copy.st_size &&
         source.st_mtim.tv_sec == copy.st_mtim.tv_sec;
}

bool isSame(const struct stat& one, const struct stat& other) {
  return one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

Result<void> copyBytes(int from, int to, off_t bytes) {
  while (bytes > 0) {
    const ssize_t sent = ::sendfile(to, from, nullptr, static_cast<std::size_t>(bytes));
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fromErrno(errno, "copy");
    if (sent == 0) return makeError(Errc::kIo, "copy: the file became shorter meanwhile");
    bytes -= sent;
  }
  return {};
}

/// `to` appears whole or not at all.
Result<void> copyFile(const std::string& from, const std::string& to) {
  const UniqueFd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return fromErrno(errno, "open " + from);
  struct stat source {};
  if (::fstat(in.get(), &source) != 0) return fromErrno(errno, "look at " + from);
  const std::string temporary = to + ".new";
  (void)::unlink(temporary.c_str());
  const UniqueFd out(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0755));
  if (!out) return fromErrno(errno, "create " + temporary);
  TRY(copyBytes(in.get(), out.get(), source.st_size).context("copy " + from));
  const timespec times[2] = {source.st_mtim, source.st_mtim};
  if (::fchmod(out.get(), 0755) != 0 || ::futimens(out.get(), times) != 0 ||
      ::fsync(out.get()) != 0)
    return fromErrno(errno, "finish " + temporary);
  if (::rename(temporary.c_str(), to.c_str()) != 0) return fromErrno(errno, "rename to " + to);
  return {};
}

/// `name` becomes another name of `file`, in one step.
Result<void> linkAs(const std::string& file, const std::string& name) {
  const std::string temporary = name + ".new";
  (void)::unlink(temporary.c_str());
  if (::link(file.c_str(), temporary.c_str()) != 0) return fromErrno(errno, "link " + temporary);
  if (::rename(temporary.c_str(), name.c_str()) != 0) return fromErrno(errno, "rename to " + name);
  (void)::unlink(temporary.c_str());  // rename(2) does nothing if both are the same file already
  return {};
}

}  // namespace

Result<std::vector<std::string>> installPlugins(const Settings& settings) {
  std::vector<std::string> foreign;
  if (settings.binDir.empty()) return foreign;
  const std::string source = TRY(sourceFile(settings));
  const struct stat sourceStat = TRY(statOf(source).context("the plugins' executable"));
  TRY(ensureDirectory(settings.binDir, 0755));
  const std::string own = settings.binDir + "/" + kOwn;
  const auto before = statOf(own);
  if (!before || !isCopy(sourceStat, *before)) TRY(copyFile(source, own));
  const struct stat now = TRY(statOf(own));
  for (const std::string name : kNames) {
    const std::string path = settings.binDir + "/" + name;
    const auto present = statOf(path);
    if (present && isSame(*present, now)) continue;
    // An earlier one of ours is the file that culvert-cni was before.
    const bool ours = present && before && isSame(*present, *before);
    if (present && !ours && !settings.replacePlugins)
      foreign.push_back(name);
    else
      TRY(linkAs(own, path));
  }
  return foreign;
}

Result<void> removePlugins(const Settings& settings,
                           const std::function<void(const std::string&)>& removed) {
  const std::string own = settings.binDir + "/" + kOwn;
  const auto installed = statOf(own);
  if (settings.binDir.empty() || !installed) return {};
  const auto source = statOf(TRY(sourceFile(settings)));
  const bool isSource = source && isSame(*source, *installed);
  FirstError outcome;
  const auto remove = [&](const std::string& path) {
    auto gone = removeFile(path);
    if (gone) removed("plugin " + path);
    outcome.note(std::move(gone));
  };
  for (const std::string name : kNames) {
    const auto present = statOf(settings.binDir + "/" + name);
    if (present && isSame(*present, *installed)) remove(settings.binDir + "/" + name);
  }
  if (!isSource) remove(own);
  return std::move(outcome).take();
}

}  // namespace culvert::conflist
