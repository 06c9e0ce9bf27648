#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::services {

/// A duration as Go writes and reads it (time.ParseDuration): "24h0m0s", "1.5s", "250ms", "0";
/// whole milliseconds, at most ten years. Nothing for a negative one, too.
std::optional<std::chrono::milliseconds> parseDuration(std::string_view text);

/// So that Go and parseDuration() read it: "24h0m0s", "1.5s", "0s".
std::string durationText(std::chrono::milliseconds duration);

}  // namespace culvert::services
