#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace culvert::plugins::multi {

/// The documents of a YAML file as JSON. Plain scalars are null, true, false, integers or else
/// strings; quoted ones are strings. kDecode if it is not YAML, nests too deep, or has what no
/// manifest needs and bombs are made of: anchors and aliases.
Result<std::vector<nlohmann::json>> parseYaml(const std::string& text);

}  // namespace culvert::plugins::multi
