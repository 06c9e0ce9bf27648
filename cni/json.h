#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "base/result.h"

namespace culvert::cni {

/// What a configuration or a delegate's answer may weigh: 10,000 valid attachments fit into 2 MiB.
inline constexpr std::size_t kMaxJsonBytes = 8U << 20;
/// How deeply it may nest; real ones stay below ten.
inline constexpr int kMaxJsonDepth = 64;

/// Parses one JSON document; kDecode says where it is broken. nlohmann's exceptions end here.
Result<nlohmann::json> parseJson(std::string_view text);

}  // namespace culvert::cni
