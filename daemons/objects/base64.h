#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert {

/// RFC 4648 section 4, with padding.
std::string encodeBase64(std::string_view bytes);
/// White space is skipped. kDecode.
Result<std::string> decodeBase64(std::string_view text);

}  // namespace culvert
