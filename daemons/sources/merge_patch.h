#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace culvert::sources {

/// `target` patched (RFC 7386). kInvalidConfig for patches deeper than 64.
Result<nlohmann::json> applyMergePatch(nlohmann::json target, const nlohmann::json& patch);

/// The patch that makes `to` of `from`. Members of `to` that are null are taken as absent, which a
/// merge patch cannot tell apart.
nlohmann::json diffMergePatch(const nlohmann::json& from, const nlohmann::json& to);

}  // namespace culvert::sources
