#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "daemons/frame/log.h"
#include "daemons/routing/address_report.h"
#include "daemons/sources/source.h"

namespace culvert::routing {

struct ReleaseOrder {
  std::string what;    // an address of this node, or a block ("10.244.1.0/26")
  bool force = false;  // also what is in use
  std::string by;      // who wants it, for the log
};

/// Makes an address or a block free again. What is in use, or may be, is refused (kConflict) unless
/// it is forced. Blocks of living nodes, the last one of this node, and those that its pods have
/// addresses of are in use. `done` gets what was released, at once or later from the loop. Each
/// release is logged.
void release(const AddressView& view, sources::Source& source, const frame::Log& log,
             const ReleaseOrder& order, std::function<void(Result<nlohmann::json>)> done);

}  // namespace culvert::routing
