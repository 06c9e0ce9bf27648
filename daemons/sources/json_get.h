#pragma once

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

namespace culvert::sources {

/// Members of what a server says, which may be anything: none of these throws.

inline std::string textOf(const nlohmann::json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

inline bool flagOf(const nlohmann::json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_boolean() && at->get<bool>();
}

/// Also of a string, as protobuf's JSON has 64-bit integers; otherwise 0.
inline std::int64_t integerOf(const nlohmann::json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end()) return 0;
  if (at->is_number_integer()) return at->get<std::int64_t>();
  return at->is_string() ? std::strtoll(at->get_ref<const std::string&>().c_str(), nullptr, 10) : 0;
}

}  // namespace culvert::sources
