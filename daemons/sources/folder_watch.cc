#include "daemons/sources/folder_watch.h"

#include <sys/inotify.h>

#include <cerrno>

namespace culvert::sources {

namespace {

constexpr std::uint32_t kContent = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
                                   IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
                                   IN_ONLYDIR;
constexpr std::uint32_t kAncestor =
    IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

std::string parentOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

Result<FolderWatch> FolderWatch::open(std::string folder) {
  while (folder.size() > 1 && folder.ends_with('/'))
    folder.pop_back();
  UniqueFd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return fromErrno(errno, "inotify_init1");
  FolderWatch watch(std::move(folder), std::move(fd));
  watch.arm();
  return watch;
}

void FolderWatch::arm() {
  if (watch_ >= 0) (void)::inotify_rm_watch(fd_.get(), watch_);
  watch_ = ::inotify_add_watch(fd_.get(), folder_.c_str(), kContent);
  present_ = watch_ >= 0;
  if (!present_) awaitAppearance();
}

/// The nearest folder above that exists; when something is made in it, we look again.
void FolderWatch::awaitAppearance() {
  std::string above = folder_;
  while (above != "/") {
    above = parentOf(above);
    watch_ = ::inotify_add_watch(fd_.get(), above.c_str(), kAncestor);
    if (watch_ < 0) continue;
    // It may have come between the two calls.
    const int again = ::inotify_add_watch(fd_.get(), folder_.c_str(), kContent);
    if (again < 0) return;
    (void)::inotify_rm_watch(fd_.get(), watch_);
    watch_ = again;
    present_ = true;
    return;
  }
}

FolderWatch::Changes FolderWatch::take() {
  Changes changes;
  alignas(inotify_event) char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      if ((event->mask & IN_Q_OVERFLOW) != 0) changes.everything = true;
      if (event->wd != watch_) continue;  // of a watch given up
      const bool isSelf = (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0;
      if (isSelf || !present_) {
        arm();
        changes.everything = true;
      } else if (event->len > 0) {
        changes.names.insert(event->name);
      }
    }
  }
  // A ConfigMap is replaced by moving one link (kubelet's atomic writer).
  if (changes.names.contains("..data")) changes.everything = true;
  return changes;
}

}  // namespace culvert::sources
