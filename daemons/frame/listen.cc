#include "daemons/frame/listen.h"

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/file.h"

namespace culvert::frame {
namespace {

constexpr int kBacklog = 128;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&storage);  // NOLINT: the sockets API's own cast
  }
  sockaddr* get() {
    return reinterpret_cast<sockaddr*>(&storage);  // NOLINT: likewise
  }
};

SocketAddress socketAddress(const ListenAddress& at) {
  SocketAddress result;
  if (at.address.family() == Family::kV4) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(at.port);
    std::memcpy(&v4.sin_addr, at.address.bytes(), sizeof v4.sin_addr);
    std::memcpy(&result.storage, &v4, result.length = sizeof v4);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(at.port);
    std::memcpy(&v6.sin6_addr, at.address.bytes(), sizeof v6.sin6_addr);
    std::memcpy(&result.storage, &v6, result.length = sizeof v6);
  }
  return result;
}

SocketAddress unixAddress(const std::string& path) {
  SocketAddress result;
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  path.copy(un.sun_path, sizeof un.sun_path - 1);
  std::memcpy(&result.storage, &un, result.length = sizeof un);
  return result;
}

UniqueFd streamSocket(int family) {
  return UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// Success if nobody answers at `path`.
Result<void> refuseLive(const std::string& path) {
  const UniqueFd probe = streamSocket(AF_UNIX);
  if (!probe) return fromErrno(errno, "create a socket");
  const SocketAddress address = unixAddress(path);
  const bool answered = ::connect(probe.get(), address.get(), address.length) == 0;
  if (!answered && errno != EAGAIN) return {};  // EAGAIN: alive, its backlog is full
  return makeError(Errc::kAlreadyExists, "another daemon answers at " + path);
}

/// A folder that is removed, with the socket that may still be in it.
class PrivateFolder {
 public:
  static Result<PrivateFolder> create(const std::string& parent) {
    std::string path = parent + "/.culvertd.XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return fromErrno(errno, "create a folder in " + parent);
    UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    PrivateFolder folder(path, std::move(fd));
    if (!folder.fd_) return fromErrno(errno, "open " + path);
    return folder;
  }
  PrivateFolder(PrivateFolder&&) = default;
  PrivateFolder& operator=(PrivateFolder&&) = delete;
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  ~PrivateFolder() {
    if (path_.empty()) return;
    (void)::unlink((path_ + "/s").c_str());
    (void)::rmdir(path_.c_str());
  }
  std::string socketPath() const { return path_ + "/s"; }
  /// The same, as short as sockaddr_un needs it.
  std::string shortPath() const { return "/proc/self/fd/" + std::to_string(fd_.get()) + "/s"; }

 private:
  PrivateFolder(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
};

Result<UniqueFd> boundIn(const PrivateFolder& folder, int group) {
  UniqueFd fd = streamSocket(AF_UNIX);
  if (!fd) return fromErrno(errno, "create a socket");
  const SocketAddress address = unixAddress(folder.shortPath());
  if (::bind(fd.get(), address.get(), address.length) != 0) return fromErrno(errno, "bind");
  const std::string path = folder.socketPath();
  if (group >= 0 && ::chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) != 0) {
    return fromErrno(errno, "give the socket to its group");
  }
  if (::chmod(path.c_str(), 0660) != 0) return fromErrno(errno, "set the socket's mode");
  if (::listen(fd.get(), kBacklog) != 0) return fromErrno(errno, "listen");
  return fd;
}

std::string folderOf(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::string socketName(const ListenAddress& address) {
  return "tcp:" + address.text();
}

Result<ListeningSocket> listenTcp(const ListenAddress& address, Families families) {
  const std::string doing = "listen at " + address.text();
  const SocketAddress socket = socketAddress(address);
  UniqueFd fd = streamSocket(socket.storage.ss_family);
  if (!fd) return fromErrno(errno, doing);
  const int on = 1;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (families == Families::kOwnOnly && address.address.family() == Family::kV6)
    (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), socket.get(), socket.length) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return fromErrno(errno, doing);
  }
  return ListeningSocket{socketName(address), std::move(fd)};
}

Result<ListenAddress> localAddress(int fd) {
  SocketAddress at;
  at.length = sizeof at.storage;
  if (::getsockname(fd, at.get(), &at.length) != 0) return fromErrno(errno, "getsockname");
  if (at.storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &at.storage, sizeof v4);
    return ListenAddress{IpAddress::fromBytes(Family::kV4, &v4.sin_addr), ntohs(v4.sin_port)};
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, &at.storage, sizeof v6);
  return ListenAddress{IpAddress::fromBytes(Family::kV6, &v6.sin6_addr), ntohs(v6.sin6_port)};
}

Result<unsigned> groupId(const std::string& name) {
  std::array<char, 65536> buffer{};
  group entry{};
  group* found = nullptr;
  const int error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0) return fromErrno(error, "look up group " + name);
  if (found == nullptr) return makeError(Errc::kNotFound, "there is no group " + name);
  return entry.gr_gid;
}

Result<UniqueFd> lockSocketPath(const std::string& path) {
  TRY(ensureDirectory(folderOf(path), 0755));
  const std::string lock = path + ".lock";
  UniqueFd fd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fromErrno(errno, "open " + lock);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return fromErrno(errno, "lock " + lock);
  return makeError(Errc::kAlreadyExists, "another daemon runs with the control socket " + path);
}

Result<ListeningSocket> listenUnix(const std::string& path, int group) {
  const std::string doing = "listen at " + path;
  TRY(ensureDirectory(folderOf(path), 0755).context(doing));
  TRY(refuseLive(path));
  const auto folder = TRY(PrivateFolder::create(folderOf(path)).context(doing));
  UniqueFd fd = TRY(boundIn(folder, group).context(doing));
  if (::rename(folder.socketPath().c_str(), path.c_str()) != 0) return fromErrno(errno, doing);
  return ListeningSocket{"unix:" + path, std::move(fd)};
}

}  // namespace culvert::frame
