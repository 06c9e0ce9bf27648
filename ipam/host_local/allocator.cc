#include "ipam/host_local/allocator.h"

#include <algorithm>
#include <functional>

namespace culvert::ipam {
namespace {

using Position = AddressCursor::Position;
using Accept = std::function<Result<bool>(const IpAddress&)>;

/// Asking for one address costs a system call or two, reading the names of 50,000 costs as much as
/// asking for some thousands: so names are read after this many refusals.
constexpr std::size_t kRefusalsBeforeListing = 1024;

enum class Names { kTrust, kIgnore };

struct Search {
  std::optional<Position> found;
  bool skippedNames = false;
};

/// The first address that `accept`s, asking only for those that are not known to be reserved.
Result<Search> search(const ReservationView& view, AddressCursor cursor, Names names,
                      const Accept& accept) {
  std::optional<std::set<IpAddress>> reserved;
  std::size_t refusals = 0;
  while (const auto position = cursor.next()) {
    if (reserved && reserved->contains(position->address)) continue;
    if (TRY(accept(position->address))) return Search{.found = position};
    if (++refusals == kRefusalsBeforeListing && names == Names::kTrust) {
      reserved = TRY(view.listReserved());
    }
  }
  return Search{.found = std::nullopt, .skippedNames = reserved.has_value()};
}

/// A name does not tell an empty reservation, which is free: before we give up, all are asked.
Result<std::optional<Position>> findFree(const ReservationView& view, const RangeSet& set,
                                         std::size_t setIndex, const Accept& accept) {
  const AddressCursor cursor(set, view.lastReserved(setIndex));
  const Search quick = TRY(search(view, cursor, Names::kTrust, accept));
  if (quick.found || !quick.skippedNames) return quick.found;
  const Search thorough = TRY(search(view, cursor, Names::kIgnore, accept));
  return thorough.found;
}

Result<Position> allocateRequested(ReservationStore& store, const RangeSet& set,
                                   const IpAddress& address, const Owner& owner) {
  const Range* range = rangeOf(set, address);
  if (address == range->gateway) {
    return makeError(Errc::kInvalidConfig,
                     "requested ip " + address.text() + " is subnet's gateway");
  }
  if (!TRY(store.reserve(address, owner))) {
    return makeError(Errc::kAlreadyExists, "requested IP address " + address.text() +
                                               " is not available in range set " +
                                               rangeSetText(set));
  }
  return Position{range, address};
}

Result<void> refuseDuplicate(ReservationStore& store, const RangeSet& set, const Owner& owner) {
  for (const IpAddress& address : TRY(store.findByOwner(owner))) {
    if (rangeOf(set, address) == nullptr) continue;
    return makeError(Errc::kAlreadyExists,
                     address.text() + " has been allocated to " + owner.containerId +
                         ", duplicate allocation is not allowed",
                     "interface " + owner.ifName + " holds it since an ADD without its DEL");
  }
  return {};
}

Result<Position> allocateNext(ReservationStore& store, const RangeSet& set, std::size_t setIndex,
                              const Owner& owner) {
  TRY(refuseDuplicate(store, set, owner));
  const auto take = [&](const IpAddress& address) { return store.reserve(address, owner); };
  const auto position = TRY(findFree(store, set, setIndex, take));
  if (position) return *position;
  return makeError(Errc::kExhausted, "no IP addresses available in range set: " + rangeSetText(set),
                   "every address is reserved; GC releases those of containers that are gone");
}

/// requests[i] is what is requested from config.sets[i].
using Requests = std::vector<std::optional<IpAddress>>;

Result<Requests> assignRequests(const HostLocalConfig& config) {
  Requests requests(config.sets.size());
  std::string unserved;
  for (const IpAddress& address : config.requested) {
    bool served = false;
    for (std::size_t i = 0; i < config.sets.size() && !served; ++i) {
      if (requests[i] || rangeOf(config.sets[i], address) == nullptr) continue;
      requests[i] = address;
      served = true;
    }
    if (!served) unserved += " " + address.text();
  }
  if (unserved.empty()) return requests;
  return makeError(Errc::kInvalidConfig, "failed to allocate all requested IPs:" + unserved,
                   "no range set has room for them: each gives one address");
}

Result<std::vector<cni::IpConfig>> allocateEach(ReservationStore& store,
                                                const HostLocalConfig& config,
                                                const Requests& requests, const Owner& owner,
                                                std::vector<IpAddress>& taken) {
  std::vector<cni::IpConfig> ips;
  for (std::size_t i = 0; i < config.sets.size(); ++i) {
    const RangeSet& set = config.sets[i];
    Result<Position> outcome = requests[i] ? allocateRequested(store, set, *requests[i], owner)
                                           : allocateNext(store, set, i, owner);
    const Position position =
        TRY(std::move(outcome).context("failed to allocate for range " + std::to_string(i)));
    taken.push_back(position.address);
    store.rememberLast(i, position.address);
    ips.push_back({.address = {position.address, position.range->subnet.length()},
                   .gateway = position.range->gateway,
                   .interface = {}});
  }
  return ips;
}

}  // namespace

AddressCursor::AddressCursor(const RangeSet& set, const std::optional<IpAddress>& last)
    : set_(set), address_(set.front().start) {
  if (last) {
    const Range* range = rangeOf(set, *last);
    if (range != nullptr) {
      range_ = static_cast<std::size_t>(range - set.data());
      address_ = *last;
      advance();
    }
  }
  firstRange_ = range_;
  first_ = address_;
}

void AddressCursor::advance() {
  if (address_ != set_[range_].end) {
    address_ = address_.next();
    return;
  }
  range_ = (range_ + 1) % set_.size();
  address_ = set_[range_].start;
}

std::optional<AddressCursor::Position> AddressCursor::next() {
  for (;;) {
    if (started_ && range_ == firstRange_ && address_ == first_) return std::nullopt;
    started_ = true;
    const Position position{&set_[range_], address_};
    advance();
    if (position.address != position.range->gateway) return position;
  }
}

Result<std::vector<cni::IpConfig>> allocate(ReservationStore& store, const HostLocalConfig& config,
                                            const Owner& owner) {
  const Requests requests = TRY(assignRequests(config));
  std::vector<IpAddress> taken;
  auto outcome = allocateEach(store, config, requests, owner, taken);
  if (outcome) return outcome;
  for (const IpAddress& address : taken) {
    const Result<void> released = store.release(address);
    if (!released) outcome.error().message += "; and then " + released.error().message;
  }
  return outcome;
}

Result<bool> hasFreeAddress(const ReservationView& view, const RangeSet& set,
                            std::size_t setIndex) {
  const auto isFree = [&](const IpAddress& address) -> Result<bool> {
    const bool reserved = TRY(view.isReserved(address));
    return !reserved;
  };
  const auto position = TRY(findFree(view, set, setIndex, isFree));
  return position.has_value();
}

}  // namespace culvert::ipam
