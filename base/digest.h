#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace culvert {

/// The first `digits` (1..128) lower-case hex digits of SHA-512 of `data` (FIPS 180-4). The hash
/// the reference plugins derive their chain and device names from, so both name things alike.
std::string sha512Hex(std::string_view data, std::size_t digits);

}  // namespace culvert
