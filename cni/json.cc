#include "cni/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace culvert::cni {
namespace {

/// The deepest nesting of brackets outside strings. Counted before parsing, so that a document of
/// brackets costs no memory.
int nestingDepth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool inString = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inString) {
      if (c == '\\') ++i;
      if (c == '"') inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

bool looksLikeUtf16(std::string_view text) {
  if (text.size() < 2) return false;
  return text.substr(0, 2) == "\xff\xfe" || text.substr(0, 2) == "\xfe\xff" || text[0] == '\0' ||
         text[1] == '\0';
}

}  // namespace

Result<nlohmann::json> parseJson(std::string_view text) {
  if (text.empty()) return makeError(Errc::kDecode, "the JSON document is empty");
  if (looksLikeUtf16(text)) {
    return makeError(Errc::kDecode,
                     "the JSON document is not UTF-8 (it looks like UTF-16 or UTF-32)");
  }
  if (text.find('\0') != std::string_view::npos) {
    return makeError(Errc::kDecode, "the JSON document has a NUL byte in it");
  }
  if (nestingDepth(text) > kMaxJsonDepth) {
    return makeError(Errc::kDecode, "the JSON document nests deeper than " +
                                        std::to_string(kMaxJsonDepth) + " levels");
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    return makeError(Errc::kDecode, std::string("not valid JSON: ") + e.what());
  }
}

}  // namespace culvert::cni
