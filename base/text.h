#pragma once

#include <string>
#include <string_view>

namespace culvert {

/// "a, b, c" of strings.
template <class Strings>
std::string joined(const Strings& parts, std::string_view separator = ", ") {
  std::string text;
  bool first = true;
  for (const auto& part : parts) {
    if (!first) text += separator;
    text += part;
    first = false;
  }
  return text;
}

}  // namespace culvert
