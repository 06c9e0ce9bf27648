#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"

// Reading JSON that came from outside, field by field; every failure is kDecode and names the
// field.
namespace culvert::ipam::dhcp {

using nlohmann::json;

inline Error badField(const char* key, const char* wanted) {
  return makeError(Errc::kDecode, std::string("field '") + key + "' is not " + wanted);
}

inline const json* findField(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

inline Result<std::string> textField(const json& object, const char* key) {
  const json* field = findField(object, key);
  if (field == nullptr || !field->is_string()) return badField(key, "a string");
  return field->get<std::string>();
}

inline Result<bool> boolField(const json& object, const char* key) {
  const json* field = findField(object, key);
  if (field == nullptr || !field->is_boolean()) return badField(key, "true or false");
  return field->get<bool>();
}

template <class Integer>
Result<Integer> integerOf(const json& value, const char* key) {
  const bool fits =
      value.is_number_unsigned() &&
      value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<Integer>::max());
  if (!fits) return badField(key, "a whole number in range");
  return static_cast<Integer>(value.get<std::uint64_t>());
}

template <class Integer>
Result<Integer> integerField(const json& object, const char* key) {
  const json* field = findField(object, key);
  if (field == nullptr) return badField(key, "a whole number in range");
  return integerOf<Integer>(*field, key);
}

/// An absent field is an empty list.
inline Result<json> listField(const json& object, const char* key) {
  const json* field = findField(object, key);
  if (field == nullptr) return json::array();
  if (!field->is_array()) return badField(key, "a list");
  return *field;
}

inline Result<std::vector<std::string>> textsField(const json& object, const char* key) {
  std::vector<std::string> texts;
  for (const json& each : TRY(listField(object, key))) {
    if (!each.is_string()) return badField(key, "a list of strings");
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

/// A value that T::parse() reads.
template <class T>
Result<T> parsedField(const json& object, const char* key) {
  const auto parsed = T::parse(TRY(textField(object, key)));
  if (!parsed) return badField(key, "well-formed");
  return *parsed;
}

template <class T>
Result<std::optional<T>> optionalField(const json& object, const char* key) {
  if (findField(object, key) == nullptr) return std::optional<T>();
  T value = TRY(parsedField<T>(object, key));
  return std::optional<T>(std::move(value));
}

inline std::string toHex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char each : bytes) {
    hex += kDigits[static_cast<std::uint8_t>(each) >> 4];
    hex += kDigits[static_cast<std::uint8_t>(each) & 15];
  }
  return hex;
}

inline std::optional<std::string> fromHex(std::string_view hex) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high << 4 | low));
  }
  return bytes;
}

inline Result<std::string> bytesField(const json& object, const char* key) {
  auto bytes = fromHex(TRY(textField(object, key)));
  if (!bytes) return badField(key, "a string of hex digits");
  return std::move(*bytes);
}

}  // namespace culvert::ipam::dhcp
