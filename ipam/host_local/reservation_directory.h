#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "ipam/host_local/allocator.h"
#include "ipam/host_local/reservation.h"

namespace culvert::ipam {

inline constexpr char kLockName[] = "lock";

/// A network's reservations on disk, in the reference plugin's format: `<ip>` (0600) holds
/// formatReservation(), `last_reserved_ip.<N>` the address that range set N gave away last, `lock`
/// is the FileLock. Whatever else is there, under whatever name, is not touched. Something that
/// stands at an address's name without being a regular file is in use and never opened or followed.
///
/// Reservations appear complete or not at all, whenever we are killed. They are not synced to the
/// disk: a machine that lost power has no containers left to own one.
class ReservationDirectory final : public ReservationView {
 public:
  /// kNotFound if there is none. Reading needs no lock: each answer is right for a moment.
  static Result<ReservationDirectory> open(const std::string& path);
  /// The same, created (0755, with its parents) if missing.
  static Result<ReservationDirectory> ensure(const std::string& path);

  Result<bool> isReserved(const IpAddress& address) const override;
  Result<std::set<IpAddress>> listReserved() const override;
  std::optional<IpAddress> lastReserved(std::size_t setIndex) const override;

  /// Unowned if there is no such reservation.
  Result<Reservation> read(const std::string& name) const;
  struct Entry {
    const std::string& name;
    const IpAddress& address;
    const Reservation& reservation;
  };
  /// Reads them all, O(n).
  Result<void> forEach(const std::function<void(const Entry&)>& visit) const;

  /// With the lock held: creates `<address>`; false if it is reserved. An empty file there, left
  /// behind by a reference plugin that was killed, gives way.
  Result<bool> create(const IpAddress& address, const Owner& owner) const;
  /// Missing is success.
  Result<void> remove(const std::string& name) const;
  /// A failure only costs the round robin its place, so it is none of the caller's business.
  void rememberLast(std::size_t setIndex, const IpAddress& address) const;

  /// Why ADD would fail here, whatever it asks for; a guess, since the kernel has the last word.
  Result<void> checkUsable() const;

  int fd() const noexcept { return fd_.get(); }

 private:
  enum class State { kFree, kEmpty, kTaken };
  Result<State> stateOf(const std::string& name) const;
  Result<Reservation> readRegular(const std::string& name) const;
  explicit ReservationDirectory(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

/// A reservation file that exists, with its content, but has no name yet.
class NewReservation {
 public:
  /// An unnamed file (O_TMPFILE), or on a file system without those one with a fixed temporary
  /// name, which the next one replaces if we are killed.
  static Result<NewReservation> create(int directory, const Owner& owner);
  static Result<NewReservation> createUnnamed(int directory, const Owner& owner);
  static Result<NewReservation> createNamed(int directory, const Owner& owner);
  NewReservation(NewReservation&& other) noexcept = default;
  NewReservation& operator=(NewReservation&& other) noexcept = delete;
  NewReservation(const NewReservation&) = delete;
  NewReservation& operator=(const NewReservation&) = delete;
  ~NewReservation();

  /// Gives it its name; false if that is taken. At most one success.
  Result<bool> linkAs(const std::string& name) const;

 private:
  NewReservation(int directory, UniqueFd fd, bool named)
      : directory_(directory), fd_(std::move(fd)), named_(named) {}
  int link(const std::string& name) const;

  int directory_;
  UniqueFd fd_;
  bool named_;
};

}  // namespace culvert::ipam
