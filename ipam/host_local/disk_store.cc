#include "ipam/host_local/disk_store.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace culvert::ipam {
namespace {

constexpr int kAttempts = 5;

/// File systems that nobody outside this machine changes. All but a few keep modification times to
/// the nanosecond; whether this one does is seen when the stamp is read back.
bool isLocal(int directory) {
  constexpr std::array<std::uint64_t, 7> kLocal{
      EXT4_SUPER_MAGIC,      XFS_SUPER_MAGIC,  BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
      OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, 0x2fc12fc1 /* ZFS */};
  struct statfs info {};
  if (::fstatfs(directory, &info) != 0) return false;
  const auto type = static_cast<std::uint64_t>(info.f_type) & 0xffffffff;
  return std::find(kLocal.begin(), kLocal.end(), type) != kLocal.end();
}

/// A moment strictly between two ticks of the clock that stamps files. Whatever is changed later
/// gets the time of a later tick or, since Linux 6.13, a precise later time: never this one.
timespec uniqueMoment() {
  timespec tick{}, now{};
  do {
    ::clock_gettime(CLOCK_REALTIME, &now);
    ::clock_gettime(CLOCK_REALTIME_COARSE, &tick);
  } while (now.tv_nsec == tick.tv_nsec);
  return now;
}

bool wasRemoved(int directory) {
  struct stat info {};
  return ::fstat(directory, &info) != 0 || info.st_nlink == 0;
}

/// Only a missing directory is "not found", which DEL takes for success.
Error lockFailure(Error error, const std::string& path) {
  if (error.code == Errc::kNotFound) error.code = Errc::kIo;
  return std::move(error).wrap(path);
}

OwnerIndex openIndex(const ReservationDirectory& directory, const std::string& root) {
  struct stat info {};
  if (!isLocal(directory.fd()) || ::fstat(directory.fd(), &info) != 0) return {};
  return OwnerIndex::open(root, info);
}

}  // namespace

Result<DiskStore> DiskStore::open(const std::string& path, const DiskStoreOptions& options) {
  return openWith(&ReservationDirectory::open, path, options);
}

Result<DiskStore> DiskStore::ensure(const std::string& path, const DiskStoreOptions& options) {
  return openWith(&ReservationDirectory::ensure, path, options);
}

/// Somebody may remove the directory or its lock (a popular cure for exhausted ranges) while we
/// wait for it: then we begin again with what is there now.
Result<DiskStore> DiskStore::openWith(Opener opener, const std::string& path,
                                      const DiskStoreOptions& options) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    ReservationDirectory directory = TRY(opener(path));
    auto lock = FileLock::acquire(directory.fd(), kLockName, options.patience);
    if (wasRemoved(directory.fd()) || (lock && lock->isStale())) continue;
    if (!lock) return lockFailure(std::move(lock).error(), path);
    OwnerIndex index = openIndex(directory, options.indexRoot);
    return DiskStore(std::move(directory), *std::move(lock), std::move(index));
  }
  return makeError(Errc::kTryAgain, path + " is being removed again and again");
}

DiskStore::DiskStore(DiskStore&& other) noexcept
    : directory_(std::move(other.directory_)),
      lock_(std::move(other.lock_)),
      index_(std::move(other.index_)),
      changed_(std::exchange(other.changed_, false)) {}

DiskStore::~DiskStore() {
  if (changed_ && index_.isValid()) stampIndex();
}

void DiskStore::stampIndex() {
  const timespec moment = uniqueMoment();
  const std::array<timespec, 2> times{timespec{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, moment};
  struct stat info {};
  if (::futimens(directory_.fd(), times.data()) != 0) return;
  if (::fstat(directory_.fd(), &info) != 0) return;
  const bool kept = info.st_mtim.tv_sec == moment.tv_sec && info.st_mtim.tv_nsec == moment.tv_nsec;
  if (kept) index_.stamp(info);
}

Result<bool> DiskStore::reserve(const IpAddress& address, const Owner& owner) {
  const bool created = TRY(directory_.create(address, owner));
  if (!created) return false;
  changed_ = true;
  if (index_.isValid()) index_.insert({OwnerIndex::keyOf(owner), address});
  return true;
}

Result<void> DiskStore::release(const IpAddress& address) {
  const Reservation reservation = TRY(directory_.read(address.text()));
  TRY(directory_.remove(address.text()));
  changed_ = true;
  const Owner* owner = std::get_if<Owner>(&reservation);
  if (index_.isValid() && owner != nullptr) index_.remove({OwnerIndex::keyOf(*owner), address});
  return {};
}

Result<std::vector<IpAddress>> DiskStore::findByOwner(const Owner& owner) {
  if (index_.isValid()) {
    if (auto found = findInIndex(owner)) return *std::move(found);
  }
  return findByReading(owner);
}

/// Nothing if the index turns out to be wrong: a file was rewritten in place, say.
std::optional<std::vector<IpAddress>> DiskStore::findInIndex(const Owner& owner) {
  for (const Owner& wanted : {owner, owner.legacy()}) {
    std::vector<IpAddress> addresses = index_.find(OwnerIndex::keyOf(wanted));
    for (const IpAddress& address : addresses) {
      const auto reservation = directory_.read(address.text());
      if (reservation && *reservation == Reservation(wanted)) continue;
      index_.invalidate();
    }
    if (!index_.isValid()) return std::nullopt;
    if (!addresses.empty()) return addresses;
  }
  return std::vector<IpAddress>();
}

Result<std::vector<IpAddress>> DiskStore::findByReading(const Owner& owner) {
  std::vector<IpAddress> exact, legacy;
  std::vector<OwnerIndex::Entry> entries;
  TRY(directory_.forEach([&](const ReservationDirectory::Entry& entry) {
    const Owner* found = std::get_if<Owner>(&entry.reservation);
    if (found == nullptr) return;
    if (*found == owner) exact.push_back(entry.address);
    if (*found == owner.legacy()) legacy.push_back(entry.address);
    entries.push_back({OwnerIndex::keyOf(*found), entry.address});
  }));
  index_.rebuild(entries);
  changed_ = true;
  return exact.empty() ? legacy : exact;
}

Result<void> DiskStore::collect(const std::function<bool(const Reservation&)>& isGarbage) {
  std::vector<std::string> garbage;
  std::vector<OwnerIndex::Entry> kept;
  TRY(directory_.forEach([&](const ReservationDirectory::Entry& entry) {
    if (isGarbage(entry.reservation)) return garbage.push_back(entry.name);
    const Owner* owner = std::get_if<Owner>(&entry.reservation);
    if (owner != nullptr) kept.push_back({OwnerIndex::keyOf(*owner), entry.address});
  }));
  FirstError outcome;
  for (const std::string& name : garbage)
    outcome.note(directory_.remove(name));
  Result<void> removed = std::move(outcome).take();
  changed_ = true;
  if (removed && !kept.empty()) {
    index_.rebuild(kept);
  } else {
    index_.discard();  // perhaps the last that is heard of this network
  }
  return removed;
}

}  // namespace culvert::ipam
