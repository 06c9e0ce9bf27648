#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemons/services/element_batch.h"
#include "daemons/services/layout.h"

namespace culvert::services {

/// Where an endpoint listens, as a map's data has it.
struct End {
  IpAddress address;
  std::uint16_t port = 0;
  auto operator<=>(const End&) const = default;
};

/// What the kernel is told of one frontend: Frontend and PortPlan, in the table's terms.
struct FrontendState {
  struct View {
    std::vector<End> ends;  // in the order of their indexes
    bool rejected = false, dropped = false;
    std::string sticky;  // with session affinity: stickyName()
    bool operator==(const View&) const = default;
  };
  enum class Masquerade : std::uint8_t { kNever, kNotPods, kHostOnly, kAlways };
  View all;
  std::optional<View> outside;  // where packets from outside are treated differently
  Masquerade masquerade = Masquerade::kNever;
  bool guarded = false;
  std::vector<IpPrefix> sources;  // of a guarded one
  bool operator==(const FrontendState&) const = default;
};

/// Names, in chains and sets, a port of a Service with what it leads to (kCluster or kLocal).
std::string stickyName(const Key& service, const PortPlan& port, Target target);
FrontendState stateOf(const Model::Held& held);

/// The wanted ones, each at the index it has in `before` as far as possible: what goes leaves a
/// hole, which the last one, or a new one, fills.
std::vector<End> keepOrder(const std::vector<End>& before, std::vector<End> wanted);

/// What makes `before` into `now`, for the sets of the table: each replaced element is removed
/// before it is added. Null: there is none.
void addChanges(const At& at, const FrontendState* before, const FrontendState* now,
                ElementBatch& removals, ElementBatch& additions);

}  // namespace culvert::services
