#pragma once

#include <cstdint>
#include <set>

#include "base/result.h"
#include "netlink/rtnl.h"

namespace culvert::plugins {

/// The routing tables that a rule, a route or a VRF of the namespace uses, and those of the
/// kernel's own (253 to 255): none that a plugin may take.
Result<std::set<std::uint32_t>> listUsedTables(netlink::Rtnl& rtnl);

/// The lowest one from `first` on that is not used; it is then. Tables do not run out.
std::uint32_t takeFreeTable(std::set<std::uint32_t>& used, std::uint32_t first);

/// Waits for, and holds until it goes, the lock of a network namespace: between looking for a free
/// table and using it nobody else does. The reference's sbr takes the same one (flock(2) on the
/// namespace's file).
class TablesLock {
 public:
  static Result<TablesLock> acquire(const NetNs& ns);
  TablesLock(TablesLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  TablesLock& operator=(TablesLock&&) = delete;
  ~TablesLock();

 private:
  explicit TablesLock(int fd) : fd_(fd) {}
  int fd_;  // the NetNs's, which outlives the lock
};

}  // namespace culvert::plugins
