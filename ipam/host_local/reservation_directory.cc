#include "ipam/host_local/reservation_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/file.h"

namespace culvert::ipam {
namespace {

constexpr char kTemporaryName[] = ".culvert-new";
constexpr std::size_t kMaxHintBytes = 64;

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using DirStream = std::unique_ptr<DIR, CloseDir>;

/// A stream of its own, so that readers do not share a position.
Result<DirStream> openStream(int directory) {
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fromErrno(errno, "open directory");
  DirStream stream(::fdopendir(fd));  // takes the descriptor
  if (stream) return stream;
  const int err = errno;
  ::close(fd);
  return fromErrno(err, "read directory");
}

/// An address spelt as no plugin spells it ("2001:DB8::1") reserves nothing. inet_pton(3) accepts
/// only one spelling of an IPv4 address.
bool isCanonical(const char* name, const IpAddress& address) {
  return std::strchr(name, ':') == nullptr || address.text() == name;
}

/// Calls visit(name, address, d_type) for every name that is an address.
template <class Visit>
Result<void> forEachAddress(int directory, Visit visit) {
  const DirStream stream = TRY(openStream(directory));
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const auto address = IpAddress::parse(entry->d_name);
    if (!address || !isCanonical(entry->d_name, *address)) continue;
    Result<void> visited = visit(entry->d_name, *address, entry->d_type);
    if (!visited) return visited;
  }
  if (errno != 0) return fromErrno(errno, "read directory");
  return {};
}

std::string hintName(std::size_t setIndex) {
  return "last_reserved_ip." + std::to_string(setIndex);
}

}  // namespace

Result<ReservationDirectory> ReservationDirectory::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fromErrno(errno, "open " + path);
  return ReservationDirectory(std::move(fd));
}

Result<ReservationDirectory> ReservationDirectory::ensure(const std::string& path) {
  auto opened = open(path);
  if (opened || opened.error().code != Errc::kNotFound) return opened;
  TRY(ensureDirectory(path, 0755));
  return open(path);
}

Result<bool> ReservationDirectory::isReserved(const IpAddress& address) const {
  const State state = TRY(stateOf(address.text()));
  return state == State::kTaken;
}

Result<ReservationDirectory::State> ReservationDirectory::stateOf(const std::string& name) const {
  struct stat info {};
  if (::fstatat(fd_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return State::kFree;
    return fromErrno(errno, "stat " + name);
  }
  return S_ISREG(info.st_mode) && info.st_size == 0 ? State::kEmpty : State::kTaken;
}

Result<std::set<IpAddress>> ReservationDirectory::listReserved() const {
  std::set<IpAddress> addresses;
  TRY(forEachAddress(fd_.get(), [&](const char*, const IpAddress& address, int) -> Result<void> {
    addresses.insert(address);
    return {};
  }));
  return addresses;
}

std::optional<IpAddress> ReservationDirectory::lastReserved(std::size_t setIndex) const {
  const UniqueFd file(::openat(fd_.get(), hintName(setIndex).c_str(),
                               O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file) return std::nullopt;
  std::string text(kMaxHintBytes, '\0');
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got <= 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(got));
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return IpAddress::parse(text);
}

/// Written in place: truncating it to nothing first would make ext4 start a write-back.
void ReservationDirectory::rememberLast(std::size_t setIndex, const IpAddress& address) const {
  const UniqueFd file(::openat(fd_.get(), hintName(setIndex).c_str(),
                               O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  const std::string text = address.text();
  const auto size = static_cast<off_t>(text.size());
  if (info.st_size > size && ::ftruncate(file.get(), size) != 0) return;
  (void)!::pwrite(file.get(), text.data(), text.size(), 0);
}

Result<Reservation> ReservationDirectory::read(const std::string& name) const {
  struct stat info {};
  if (::fstatat(fd_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Reservation(Unowned{});
    return fromErrno(errno, "stat " + name);
  }
  if (!S_ISREG(info.st_mode)) return Reservation(Foreign{});
  return readRegular(name);
}

/// One read(2) for every file that a plugin wrote: a regular file that fills less than the buffer
/// has ended.
Result<Reservation> ReservationDirectory::readRegular(const std::string& name) const {
  const UniqueFd file(
      ::openat(fd_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file && errno == ENOENT) return Reservation(Unowned{});
  if (!file) return fromErrno(errno, "open " + name);
  std::array<char, 1024> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  const ssize_t got = ::pread(file.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) return fromErrno(errno, "read " + name);
  const auto size = static_cast<std::size_t>(got);
  if (size < buffer.size()) return parseReservation({buffer.data(), size});
  const auto content = readAll(file.get(), kMaxReservationBytes);
  if (content) return parseReservation(*content);
  if (content.error().code == Errc::kDecode) return Reservation(Foreign{});  // too long
  return content.error();
}

Result<void> ReservationDirectory::forEach(const std::function<void(const Entry&)>& visit) const {
  const auto visitOne = [&](const std::string& name, const IpAddress& address,
                            int type) -> Result<void> {
    Reservation reservation = Foreign{};
    if (type == DT_REG) reservation = TRY(readRegular(name));
    if (type == DT_UNKNOWN) reservation = TRY(read(name));
    visit({name, address, reservation});
    return {};
  };
  return forEachAddress(fd_.get(), visitOne);
}

Result<bool> ReservationDirectory::create(const IpAddress& address, const Owner& owner) const {
  const std::string name = address.text();
  const State state = TRY(stateOf(name));
  if (state == State::kTaken) return false;
  if (state == State::kEmpty) TRY(remove(name));
  const NewReservation reservation = TRY(NewReservation::create(fd_.get(), owner));
  return reservation.linkAs(name);
}

Result<void> ReservationDirectory::remove(const std::string& name) const {
  if (::unlinkat(fd_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  return fromErrno(errno, "remove " + name);
}

Result<void> ReservationDirectory::checkUsable() const {
  if (::faccessat(fd_.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) return fromErrno(errno, "write");
  struct stat lock {};
  if (::fstatat(fd_.get(), kLockName, &lock, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fromErrno(errno, kLockName);
  }
  if (!S_ISREG(lock.st_mode)) return makeError(Errc::kIo, "lock is not a regular file");
  return {};
}

Result<NewReservation> NewReservation::create(int directory, const Owner& owner) {
  auto unnamed = createUnnamed(directory, owner);
  if (unnamed) return unnamed;
  const int err = unnamed.error().sysErrno;
  if (err == EOPNOTSUPP || err == EISDIR || err == ENOENT || err == EINVAL) {
    return createNamed(directory, owner);
  }
  return unnamed;
}

Result<NewReservation> NewReservation::createUnnamed(int directory, const Owner& owner) {
  UniqueFd fd(::openat(directory, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (!fd) return fromErrno(errno, "create reservation");
  TRY(writeAll(fd.get(), formatReservation(owner)).context("reservation"));
  return NewReservation(directory, std::move(fd), false);
}

Result<NewReservation> NewReservation::createNamed(int directory, const Owner& owner) {
  (void)::unlinkat(directory, kTemporaryName, 0);
  UniqueFd fd(::openat(directory, kTemporaryName,
                       O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fromErrno(errno, "create reservation");
  NewReservation reservation(directory, std::move(fd), true);
  TRY(writeAll(reservation.fd_.get(), formatReservation(owner)).context("reservation"));
  return reservation;
}

NewReservation::~NewReservation() {
  if (named_ && fd_) (void)::unlinkat(directory_, kTemporaryName, 0);
}

int NewReservation::link(const std::string& name) const {
  if (named_) return ::linkat(directory_, kTemporaryName, directory_, name.c_str(), 0);
  if (::linkat(fd_.get(), "", directory_, name.c_str(), AT_EMPTY_PATH) == 0) return 0;
  if (errno != ENOENT) return -1;
  // Without CAP_DAC_READ_SEARCH the way leads through /proc (open(2), O_TMPFILE).
  const std::string path = "/proc/self/fd/" + std::to_string(fd_.get());
  return ::linkat(AT_FDCWD, path.c_str(), directory_, name.c_str(), AT_SYMLINK_FOLLOW);
}

Result<bool> NewReservation::linkAs(const std::string& name) const {
  if (link(name) == 0) return true;
  if (errno == EEXIST) return false;
  return fromErrno(errno, "create " + name);
}

}  // namespace culvert::ipam
