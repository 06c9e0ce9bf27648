#include "daemons/sources/json_parse.h"

#include <simdjson.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "cni/json.h"

namespace culvert::sources {
namespace {

using nlohmann::json;
using simdjson::dom::element;
using simdjson::dom::element_type;

/// Who last wrote which field (metadata.managedFields): often half of an object, and read by
/// nobody.
constexpr std::string_view kBookkeeping = "managedFields";

/// Beyond this a parser's buffers, some ten times the text, are not kept for the next one.
constexpr std::size_t kKeptBytes = 256 * 1024;

json toJson(const element& value);

json toObject(const simdjson::dom::object& from, std::string_view leftOut = "") {
  json object = json::object();
  auto& members = object.get_ref<json::object_t&>();
  for (const auto& [key, member] : from) {
    if (leftOut.empty() || key != leftOut)
      members.insert_or_assign(members.end(), std::string(key), toJson(member));
  }
  return object;
}

json toJson(const element& value) {
  switch (value.type()) {
    case element_type::OBJECT:
      return toObject(value.get_object().value_unsafe());
    case element_type::ARRAY: {
      json array = json::array();
      auto& items = array.get_ref<json::array_t&>();
      const simdjson::dom::array from = value.get_array().value_unsafe();
      for (const element item : from)
        items.push_back(toJson(item));
      return array;
    }
    case element_type::STRING:
      return std::string(value.get_string().value_unsafe());
    case element_type::INT64: {
      const std::int64_t number = value.get_int64().value_unsafe();  // unsigned, as nlohmann has it
      return number < 0 ? json(number) : json(static_cast<std::uint64_t>(number));
    }
    case element_type::UINT64:
      return value.get_uint64().value_unsafe();
    case element_type::DOUBLE:
      return value.get_double().value_unsafe();
    case element_type::BOOL:
      return value.get_bool().value_unsafe();
    case element_type::NULL_VALUE:
      break;
  }
  return nullptr;
}

/// A whole document, without bookkeeping.
json toDocument(const element& root) {
  if (!root.is_object()) return toJson(root);
  json document = json::object();
  auto& members = document.get_ref<json::object_t&>();
  const simdjson::dom::object from = root.get_object().value_unsafe();
  for (const auto& [key, member] : from) {
    const bool isMetadata = key == "metadata" && member.is_object();
    members.insert_or_assign(
        members.end(), std::string(key),
        isMetadata ? toObject(member.get_object().value_unsafe(), kBookkeeping) : toJson(member));
  }
  return document;
}

std::uint64_t mix(std::uint64_t seed, std::uint64_t next) {
  return (seed ^ next) * 0x9e3779b97f4a7c15ULL + (seed >> 29);
}

std::uint64_t hashOf(std::string_view text) {
  return std::hash<std::string_view>{}(text);
}

std::uint64_t digestOf(const element& value) {
  std::uint64_t digest = mix(0x51, static_cast<std::uint64_t>(value.type()));
  if (value.is_object()) {
    const simdjson::dom::object object = value.get_object().value_unsafe();
    for (const auto& [key, member] : object)
      digest = mix(mix(digest, hashOf(key)), digestOf(member));
    return digest;
  }
  if (value.is_array()) {
    const simdjson::dom::array array = value.get_array().value_unsafe();
    for (const element item : array)
      digest = mix(digest, digestOf(item));
    return digest;
  }
  if (value.is_string()) return mix(digest, hashOf(value.get_string().value_unsafe()));
  if (value.is_bool()) return mix(digest, value.get_bool().value_unsafe() ? 1 : 2);
  if (value.is_double()) return mix(digest, std::hash<double>{}(value.get_double().value_unsafe()));
  if (value.is_int64())
    return mix(digest, static_cast<std::uint64_t>(value.get_int64().value_unsafe()));
  return value.is_uint64() ? mix(digest, value.get_uint64().value_unsafe()) : digest;
}

/// Calls use(root) if simdjson takes the text.
template <class Use>
bool parsed(std::string_view text, Use use) {
  static thread_local simdjson::dom::parser kept;
  simdjson::dom::parser big;
  simdjson::dom::parser& parser = text.size() > kKeptBytes ? big : kept;
  const bool fits = parser.capacity() >= text.size() ||
                    parser.allocate(text.size(), cni::kMaxJsonDepth) == simdjson::SUCCESS;
  element root;
  if (!fits || parser.parse(text.data(), text.size()).get(root) != simdjson::SUCCESS) return false;
  use(root);
  return true;
}

/// The items of a list; nothing if it is none.
std::optional<simdjson::dom::array> itemsOf(const element& root) {
  std::string_view kind;
  simdjson::dom::array items;
  if (root["kind"].get_string().get(kind) != simdjson::SUCCESS || !kind.ends_with("List") ||
      root["items"].get_array().get(items) != simdjson::SUCCESS)
    return std::nullopt;
  return items;
}

}  // namespace

Result<json> parseJson(std::string_view text) {
  json value;
  if (parsed(text, [&](const element& root) { value = toDocument(root); })) return value;
  return cni::parseJson(text);
}

Result<std::vector<Digested>> parseItems(std::string_view text) {
  std::vector<Digested> all;
  const bool taken = parsed(text, [&](const element& root) {
    if (const auto items = itemsOf(root)) {
      for (const element item : *items)
        all.push_back({toDocument(item), digestOf(item)});
    } else {
      all.push_back({toDocument(root), digestOf(root)});
    }
  });
  if (taken) return all;
  auto value = TRY(cni::parseJson(text));
  const std::uint64_t digest = digestOf(value);
  all.push_back({std::move(value), digest});
  return all;
}

std::uint64_t digestOf(const json& value) {
  std::uint64_t digest = mix(0x51, static_cast<std::uint64_t>(value.type()));
  if (const auto* object = value.get_ptr<const json::object_t*>()) {
    for (const auto& [key, member] : *object)
      digest = mix(mix(digest, hashOf(key)), digestOf(member));
  } else if (const auto* array = value.get_ptr<const json::array_t*>()) {
    for (const json& item : *array)
      digest = mix(digest, digestOf(item));
  } else if (const auto* text = value.get_ptr<const json::string_t*>()) {
    digest = mix(digest, hashOf(*text));
  } else {
    digest = mix(digest, std::hash<json>{}(value));
  }
  return digest;
}

}  // namespace culvert::sources
