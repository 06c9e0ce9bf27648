#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace culvert::sources {

/// As cni::parseJson(), with the same results (but without metadata.managedFields) and the same
/// errors, in a third of the time: simdjson reads the text, and only what it does not take goes to
/// nlohmann's parser, which can say why.
Result<nlohmann::json> parseJson(std::string_view text);

/// A value, and what tells it from others.
struct Digested {
  nlohmann::json value;
  std::uint64_t digest = 0;
};
/// The document, or of a Kubernetes list ("kind": "...List") its items.
Result<std::vector<Digested>> parseItems(std::string_view text);

/// The digest of a value. The same in every process, and another one than parseItems() has.
std::uint64_t digestOf(const nlohmann::json& value);

}  // namespace culvert::sources
