#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "netlink/fdb.h"
#include "netlink/link.h"
#include "netlink/nexthop.h"
#include "netlink/rtnl.h"

// Thousands of changes to what the kernel forwards by, in few system calls.
namespace culvert::netlink {

/// What is done with one object.
struct Change {
  enum class How {
    kCreate,   // kAlreadyExists if it is there
    kReplace,  // there or not
    kRemove,   // success if it is gone already
  };
  using Object = std::variant<NexthopSpec, NeighbourSpec, FdbEntry, RouteSpec>;
  How how = How::kReplace;
  Object object;
};

/// `replace route 10.1.0.0/24 nhid 7`
std::string describe(const Change& change);

/// A change that the kernel refused; `error` says which and has the kernel's words in `details`.
struct ChangeFailure {
  std::size_t index = 0;  // in what was given
  Error error;
};

/// Puts changes into the order in which forwarding is never worse than before or after: first what
/// is made or replaced, nexthops (groups behind their members), neighbours, forwarding entries,
/// routes; then what is removed, the other way round. Equal ones keep their order. So an object
/// must not be made and removed in one list.
void sortForApplying(std::vector<Change>& changes);

/// Applies them in the given order, each for itself: a failure does not stop the later ones.
/// Packed into messages of some 32 KiB, and answered only where something fails, so that the
/// receive buffer never overflows. 10,000 routes by nexthop take about what the kernel takes.
/// The outer error is the socket's own; then nobody knows which changes were made.
Result<std::vector<ChangeFailure>> applyChanges(Rtnl& rtnl, const std::vector<Change>& changes);

}  // namespace culvert::netlink
