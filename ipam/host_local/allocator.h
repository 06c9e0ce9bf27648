#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "cni/types.h"
#include "ipam/host_local/config.h"
#include "ipam/host_local/reservation.h"

namespace culvert::ipam {

/// What is reserved in one network. Nobody else changes it while the allocator works.
class ReservationView {
 public:
  virtual ~ReservationView() = default;
  virtual Result<bool> isReserved(const IpAddress& address) const = 0;
  /// Every address that isReserved(), and perhaps a few that are not: a hint that saves asking one
  /// by one.
  virtual Result<std::set<IpAddress>> listReserved() const = 0;
  /// Where the round robin of range set `setIndex` stands: a hint, nothing if unknown.
  virtual std::optional<IpAddress> lastReserved(std::size_t setIndex) const = 0;
};

/// The same with the right to change it; DiskStore is the real one.
class ReservationStore : public ReservationView {
 public:
  /// Gives `address` to `owner`; false if it is taken.
  virtual Result<bool> reserve(const IpAddress& address, const Owner& owner) = 0;
  virtual Result<void> release(const IpAddress& address) = 0;
  /// Exactly this owner's addresses; if there are none, those of its legacy reservations.
  virtual Result<std::vector<IpAddress>> findByOwner(const Owner& owner) = 0;
  virtual void rememberLast(std::size_t setIndex, const IpAddress& address) = 0;
};

/// Walks through a range set once: from the address after `last` (or the first one, if `last` is
/// not of the set) through all ranges and around to `last`, leaving out the gateways.
class AddressCursor {
 public:
  AddressCursor(const RangeSet& set, const std::optional<IpAddress>& last);

  struct Position {
    const Range* range = nullptr;
    IpAddress address;
  };
  std::optional<Position> next();

 private:
  void advance();

  const RangeSet& set_;
  std::size_t range_ = 0;
  IpAddress address_;
  std::size_t firstRange_ = 0;
  IpAddress first_;
  bool started_ = false;
};

/// One address from each set: the one requested there, else the next free one in round robin.
/// All or nothing. Which request is for which set is decided before anything is reserved.
/// Errors: kExhausted; kAlreadyExists for a requested address that is taken or an owner that
/// already has one in the set (duplicate allocation); kInvalidConfig for a request nobody serves.
Result<std::vector<cni::IpConfig>> allocate(ReservationStore& store, const HostLocalConfig& config,
                                            const Owner& owner);

/// Whether allocate() would find an address in this set.
Result<bool> hasFreeAddress(const ReservationView& view, const RangeSet& set, std::size_t setIndex);

}  // namespace culvert::ipam
