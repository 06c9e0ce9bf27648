#pragma once

#include <chrono>
#include <string>

namespace culvert::frame {

/// "2026-11-21T16:00:00.123Z" (RFC 3339, UTC, milliseconds).
std::string rfc3339(std::chrono::system_clock::time_point time);

}  // namespace culvert::frame
