#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "cni/config_reader.h"
#include "cni/types.h"
#include "cni/version.h"

namespace culvert::cni {

/// The result as `version` spells it, indented by four spaces. Fields that the version does not
/// know are left out; 0.1.0 and 0.2.0 hold one address per family and cannot say "no address":
/// then kUnsupportedField, `cannot convert: no valid IP addresses`, as the reference words it.
Result<std::string> renderResult(const AddResult& result, Version version);

/// A result object in the shape of `version`. Everything wrong goes to `problems`, with paths that
/// start at `path`.
AddResult parseResult(const nlohmann::json& object, Version version, const std::string& path,
                      Problems& problems);

/// What a delegate printed: its own cniVersion if it says one, else `configVersion`. Empty output
/// and "null" are an empty result.
Result<AddResult> parseDelegateResult(const std::string& out, Version configVersion);

}  // namespace culvert::cni
