#include "cni/config_reader.h"

#include <strings.h>

#include <nlohmann/json.hpp>

namespace culvert::cni {
namespace {

using nlohmann::json;

constexpr std::size_t kShownBytes = 120;

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  return text;
}

const json& emptyObject() {
  static const json kEmpty = json::object();
  return kEmpty;
}

}  // namespace

Result<void> Problems::take() const {
  if (list_.empty()) return {};
  std::string all;
  for (const std::string& problem : list_)
    all += (all.empty() ? "" : "; ") + problem;
  return makeError(Errc::kInvalidConfig, all);
}

ConfigReader::ConfigReader(const json& value, std::string path, Problems& problems, Keys keys)
    : value_(&value), path_(std::move(path)), problems_(&problems), keys_(keys) {
  if (value.is_object()) return;
  problems.add(path_.empty() ? "configuration" : path_, shown(value) + " is not an object");
  value_ = &emptyObject();
}

std::string ConfigReader::pathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const json* ConfigReader::find(std::string_view key) const {
  const auto exact = value_->find(key);
  if (exact != value_->end() && !exact->is_null()) return &*exact;
  if (keys_ == Keys::kExact || !value_->is_object()) return nullptr;
  for (const auto& [name, value] : value_->get_ref<const json::object_t&>()) {
    if (name.size() == key.size() && strncasecmp(name.data(), key.data(), key.size()) == 0 &&
        !value.is_null()) {
      return &value;
    }
  }
  return nullptr;
}

void ConfigReader::problem(std::string_view key, std::string_view why) const {
  const json* value = find(key);
  problems_->add(pathOf(key), (value == nullptr ? "" : shown(*value) + " ") + std::string(why));
}

void ConfigReader::wrongType(std::string_view key, const json& value,
                             std::string_view wanted) const {
  problems_->add(pathOf(key), shown(value) + " is not " + std::string(wanted));
}

bool ConfigReader::isString(std::string_view key) const {
  const json* value = find(key);
  return value != nullptr && value->is_string();
}

std::string ConfigReader::string(std::string_view key, std::string fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  wrongType(key, *value, "a string");
  return fallback;
}

std::string ConfigReader::stringOrInteger(std::string_view key) const {
  const json* value = find(key);
  return value != nullptr && value->is_number_integer() ? value->dump() : string(key);
}

bool ConfigReader::boolean(std::string_view key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  wrongType(key, *value, "true or false");
  return fallback;
}

std::optional<std::int64_t> ConfigReader::integer(std::string_view key, std::int64_t min,
                                                  std::int64_t max) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::string range = std::to_string(min) + ".." + std::to_string(max);
  const bool huge = value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX;
  if (!value->is_number_integer() || huge || value->get<std::int64_t>() < min ||
      value->get<std::int64_t>() > max) {
    wrongType(key, *value, "an integer within " + range);
    return std::nullopt;
  }
  return value->get<std::int64_t>();
}

std::vector<std::string> ConfigReader::strings(std::string_view key) const {
  std::vector<std::string> list;
  const json* value = find(key);
  if (value == nullptr) return list;
  if (!value->is_array()) {
    wrongType(key, *value, "a list of strings");
    return list;
  }
  for (std::size_t i = 0; i < value->size(); ++i) {
    const json& item = (*value)[i];
    if (item.is_string()) {
      list.push_back(item.get<std::string>());
    } else {
      wrongType(std::string(key) + "[" + std::to_string(i) + "]", item, "a string");
    }
  }
  return list;
}

std::map<std::string, std::string> ConfigReader::stringMap(std::string_view key) const {
  std::map<std::string, std::string> map;
  const json* value = find(key);
  if (value == nullptr) return map;
  if (!value->is_object()) {
    wrongType(key, *value, "an object of strings");
    return map;
  }
  for (const auto& [name, item] : value->items()) {
    if (item.is_string()) {
      map[name] = item.get<std::string>();
    } else {
      wrongType(std::string(key) + "." + name, item, "a string");
    }
  }
  return map;
}

std::optional<IpAddress> ConfigReader::address(std::string_view key) const {
  const std::string text = string(key);
  if (text.empty()) return std::nullopt;
  const auto parsed = IpAddress::parse(text);
  if (!parsed) problem(key, "is not an IP address");
  return parsed;
}

std::optional<IpPrefix> ConfigReader::prefix(std::string_view key) const {
  const std::string text = string(key);
  if (text.empty()) return std::nullopt;
  const auto parsed = IpPrefix::parse(text);
  if (!parsed) problem(key, "is not an address in CIDR notation");
  return parsed;
}

std::optional<MacAddress> ConfigReader::mac(std::string_view key) const {
  const std::string text = string(key);
  if (text.empty()) return std::nullopt;
  const auto parsed = MacAddress::parse(text);
  if (!parsed || !parsed->isUnicast()) {
    problem(key, "is not a unicast MAC address");
    return std::nullopt;
  }
  return parsed;
}

const json& ConfigReader::raw(std::string_view key) const {
  static const json kNull;
  const json* value = find(key);
  return value == nullptr ? kNull : *value;
}

ConfigReader ConfigReader::object(std::string_view key) const {
  const json* value = find(key);
  return {value == nullptr ? emptyObject() : *value, pathOf(key), *problems_, keys_};
}

std::vector<ConfigReader> ConfigReader::objectsOf(const json& array,
                                                  const std::string& path) const {
  std::vector<ConfigReader> list;
  if (!array.is_array()) {
    problems_->add(path, shown(array) + " is not a list");
    return list;
  }
  for (std::size_t i = 0; i < array.size(); ++i) {
    list.emplace_back(array[i], path + "[" + std::to_string(i) + "]", *problems_, keys_);
  }
  return list;
}

std::vector<ConfigReader> ConfigReader::objects(std::string_view key) const {
  const json* value = find(key);
  return value == nullptr ? std::vector<ConfigReader>() : objectsOf(*value, pathOf(key));
}

std::vector<std::vector<ConfigReader>> ConfigReader::objectLists(std::string_view key) const {
  std::vector<std::vector<ConfigReader>> lists;
  const json* value = find(key);
  if (value == nullptr) return lists;
  if (!value->is_array()) {
    wrongType(key, *value, "a list of lists");
    return lists;
  }
  for (std::size_t i = 0; i < value->size(); ++i) {
    lists.push_back(objectsOf((*value)[i], pathOf(key) + "[" + std::to_string(i) + "]"));
  }
  return lists;
}

}  // namespace culvert::cni
