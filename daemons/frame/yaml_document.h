#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace culvert::frame {

/// One YAML document as JSON, and where everything in it stands.
struct YamlDocument {
  nlohmann::json root = nlohmann::json::object();
  /// Line (from 1) of each value by its path as cni::ConfigReader writes it: "a.b[0].c".
  std::map<std::string, unsigned> lines;
  /// Keys that stand there twice: path and line. The first one's value counts.
  std::vector<std::pair<std::string, unsigned>> duplicates;
};

inline constexpr std::size_t kMaxYamlBytes = std::size_t{256} * 1024;
inline constexpr std::size_t kMaxYamlDepth = 32;

/// YAML as configurations need it: quoted scalars are strings; plain ones are null, true, false or
/// an integer if they look exactly like one (YAML 1.2.2 section 10.3, decimal only), strings
/// otherwise. kDecode, its message beginning with the line ("12: ..."), for text that is not YAML,
/// exceeds the bounds above, or has aliases, tags or a second document: what files that want to
/// harm use, and configurations do not need. An empty text is an empty object.
Result<YamlDocument> parseYaml(std::string_view text);

/// "a.b", or "b" if `parent` is empty.
std::string childPath(const std::string& parent, const std::string& key);

}  // namespace culvert::frame
