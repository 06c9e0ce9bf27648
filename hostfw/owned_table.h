#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "hostfw/owner.h"
#include "hostfw/turn.h"
#include "netlink/nft.h"

/// What the tables of masquerade.cc and spoof_check.cc have in common: elements that say in their
/// comment whose they are, changes guarded by the generation id, a table that goes when it is
/// empty.
namespace culvert::hostfw {

struct OwnedTable {
  nft::Table table;
  std::vector<std::string> chains;  // those we create; "x*" is all that begin with x
  std::vector<nft::Set> indexes;    // hold at least one element of nearly every owner
  /// What its rules jump to was made by us for operators to fill, and counts only if they have.
  std::optional<nft::Chain> hooks = {};
  /// Its elements belong to no owner, and what they tell of is undone when the table goes
  /// (hostfw/inet_table.h).
  std::optional<nft::Set> localnet = {};
};

/// Whether an element's comment is a tag of `owner`.
bool belongsTo(const nft::Element& element, const OwnerHash& owner);

/// The key of an index: the owner's hashes as four marks, and a number from 0 on.
nft::TypeList ownerKeyTypes();
nft::Value ownerKey(const OwnerHash& owner, std::size_t number);

/// An element and where it belongs.
struct Placed {
  nft::Set set;
  nft::Element element;
};

/// Elements to remove, each once: the kernel refuses to remove one twice.
class Removal {
 public:
  void add(const nft::Set& set, const nft::Value& key) {
    if (keys_.emplace(set.name, key).second) tx_.remove(set, {key});
  }
  bool contains(const nft::Set& set, const nft::Value& key) const {
    return keys_.count({set.name, key}) != 0;
  }
  bool empty() const noexcept { return keys_.empty(); }
  std::size_t countIn(const nft::Set& set) const;
  const nft::Transaction& transaction() const noexcept { return tx_; }

 private:
  nft::Transaction tx_;
  std::set<std::pair<std::string, nft::Value>> keys_;
};

/// Removes whatever has the keys of `elements`, to make place for them.
Result<void> addOccupants(nft::Connection& nft, const std::vector<Placed>& elements,
                          Removal& removal);

/// Adds the elements, all or none: false if one of the keys is taken or one of the sets not there.
/// Elements that are `shared` may be there already.
Result<bool> createElements(nft::Connection& nft, const std::vector<Placed>& elements,
                            const std::vector<Placed>& shared = {});

/// Commits the removal, or that of the whole table if nothing else is left in it: no other
/// element, no set and no chain that is not ours. `seen` is the generation that `removal` was made
/// from; kTryAgain if it has passed.
Result<void> commitRemoval(nft::Connection& nft, const OwnedTable& owned, const Removal& removal,
                           nft::Generation seen);

/// Whether owners are of a network and not among its valid attachments.
class Invalid {
 public:
  Invalid(const std::string& network, const std::set<Attachment>& valid);
  bool owns(const nft::Element& element) const;

 private:
  std::string network_;
  std::set<std::string> valid_;
};

/// Removes from every set of the table whose name `isMine` what attachments of `network` own that
/// are not in `valid`, and the table with the last element. Returns how many elements of `counted`
/// that were.
Result<std::size_t> collectInvalid(nft::Connection& nft, const OwnedTable& owned,
                                   const std::string& network, const std::set<Attachment>& valid,
                                   const std::vector<nft::Set>& counted,
                                   bool (*isMine)(const std::string& setName));

/// Calls `attempt(generation)` until it succeeds, or fails although nobody has changed anything
/// meanwhile; for five seconds at most.
template <class Attempt>
Result<void> retryOnConflict(nft::Connection& nft, Attempt attempt) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kBudget = std::chrono::seconds(5);
  constexpr auto kLongestPause = std::chrono::nanoseconds(5'000'000);
  auto pause = std::chrono::nanoseconds(50'000);
  const Turn turn;
  const auto deadline = Clock::now() + kBudget;
  nft::Generation seen = TRY(nft.generation());
  for (;;) {
    Result<void> outcome = attempt(seen);
    if (outcome) return outcome;
    const nft::Generation now = TRY(nft.generation());
    if (now == seen || Clock::now() > deadline) return outcome;
    // Two processes that collided must not do so in step: the clock's last digits are the die.
    std::this_thread::sleep_for(pause + Clock::now().time_since_epoch() % pause);
    pause = std::min(pause * 2, kLongestPause);
    seen = TRY(nft.generation());
  }
}

}  // namespace culvert::hostfw
