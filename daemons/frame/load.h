#pragma once

#include "daemons/frame/role.h"

namespace culvert::frame {

/// A configuration that every part of the daemon has found right.
struct Loaded {
  Config config;
  Settings settings;
};

/// The keys of all parts.
Schema schemaOf(const Parts& parts);

/// Reads and checks everything: the daemon's own keys, the source's, those of the roles that are
/// switched on. kInvalidConfig with one line for each problem. What --check does, and what comes
/// before a start, a reload and a hot restart.
Result<Loaded> load(const Parts& parts, const ConfigInput& input);

}  // namespace culvert::frame
