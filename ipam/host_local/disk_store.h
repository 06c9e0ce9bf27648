#pragma once

#include <chrono>
#include <string>

#include "ipam/host_local/file_lock.h"
#include "ipam/host_local/owner_index.h"
#include "ipam/host_local/reservation_directory.h"

namespace culvert::ipam {

/// How DiskStore waits and where it keeps what it can do without.
struct DiskStoreOptions {
  std::string indexRoot = "/run/culvert/host-local";
  std::chrono::milliseconds patience{10'000};
};

/// A ReservationDirectory that we alone work on: holds the directory's lock as long as it lives.
///
/// ADD and DEL cost the same however many reservations there are: an OwnerIndex knows whose is
/// what. Whether it may be believed is told by the directory's own modification time, which every
/// creation and removal changes. After our last change we set it to a moment that the kernel's
/// clock for files will not produce again, and note it in the index. A later change by anybody
/// else (the reference plugin, an administrator), or our being killed before we got that far,
/// leaves a time that is not the one noted; then all reservations are read again, once.
///
/// Without a place for the index, or where modification times cannot be trusted (network file
/// systems), every search by owner reads all reservations, as the reference plugin does.
class DiskStore final : public ReservationStore {
 public:
  /// kNotFound if there is no directory, and then nothing was created. kTryAgain if the lock is
  /// held for too long.
  static Result<DiskStore> open(const std::string& path, const DiskStoreOptions& options = {});
  /// The same, with the directory created if missing.
  static Result<DiskStore> ensure(const std::string& path, const DiskStoreOptions& options = {});

  DiskStore(DiskStore&& other) noexcept;
  DiskStore& operator=(DiskStore&&) = delete;
  DiskStore(const DiskStore&) = delete;
  DiskStore& operator=(const DiskStore&) = delete;
  /// Declares the index valid, then gives up the lock.
  ~DiskStore() override;

  Result<bool> isReserved(const IpAddress& address) const override {
    return directory_.isReserved(address);
  }
  Result<std::set<IpAddress>> listReserved() const override { return directory_.listReserved(); }
  std::optional<IpAddress> lastReserved(std::size_t setIndex) const override {
    return directory_.lastReserved(setIndex);
  }
  Result<bool> reserve(const IpAddress& address, const Owner& owner) override;
  Result<void> release(const IpAddress& address) override;
  Result<std::vector<IpAddress>> findByOwner(const Owner& owner) override;
  void rememberLast(std::size_t setIndex, const IpAddress& address) override {
    directory_.rememberLast(setIndex, address);
  }

  /// Removes every reservation of which `isGarbage(reservation)`, past failures.
  Result<void> collect(const std::function<bool(const Reservation&)>& isGarbage);

 private:
  using Opener = Result<ReservationDirectory> (*)(const std::string&);
  static Result<DiskStore> openWith(Opener opener, const std::string& path,
                                    const DiskStoreOptions& options);
  DiskStore(ReservationDirectory directory, FileLock lock, OwnerIndex index)
      : directory_(std::move(directory)), lock_(std::move(lock)), index_(std::move(index)) {}

  std::optional<std::vector<IpAddress>> findInIndex(const Owner& owner);
  Result<std::vector<IpAddress>> findByReading(const Owner& owner);
  void stampIndex();

  ReservationDirectory directory_;
  FileLock lock_;
  OwnerIndex index_;
  bool changed_ = false;  // since the index was stamped: by us, or it was just rebuilt
};

}  // namespace culvert::ipam
