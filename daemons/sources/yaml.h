#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace culvert::sources {

/// A document of a file, and the line (from 1) at which it begins.
struct Document {
  nlohmann::json value;
  int line = 1;
  std::uint64_t digest = 0;  // tells it from other versions of it in files of the same name
};

/// The documents of a YAML file as JSON; empty ones are left out. Plain scalars are typed as in the
/// YAML 1.2 core schema, quoted ones are strings. kDecode, the message beginning with "LINE: ", if
/// it is not YAML, is nested too deeply, or grows beyond a million nodes or by 16 MiB through its
/// aliases.
Result<std::vector<Document>> parseYaml(const std::string& text);

/// A JSON file's one document, or the items of it if it is a list; errors as above.
Result<std::vector<Document>> parseJsonFile(const std::string& text);

}  // namespace culvert::sources
