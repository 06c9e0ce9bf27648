#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "base/result.h"

namespace culvert::cni {

/// Collects everything that is wrong with a configuration, so that it is reported at once.
class Problems {
 public:
  /// "ipam.ranges[0][0].subnet: \"10.1.2.3/24\" has host bits set"
  void add(const std::string& path, const std::string& what) {
    list_.push_back(path + ": " + what);
  }
  /// kInvalidConfig naming every problem, or success if there was none.
  Result<void> take() const;

 private:
  std::vector<std::string> list_;
};

/// Reads one JSON object key by key, remembering its path ("ipam.ranges[0][1]"). Keys match
/// exactly or else case-insensitively, null counts as absent, and a value of the wrong type is a
/// problem that shows the value: what Go's encoding/json does with the same configurations.
/// Every reader returns the default (or nothing) when there is a problem: check Problems::take()
/// before acting. Unknown keys are ignored (CNI 1.1.0 section 1).
class ConfigReader {
 public:
  /// `value` must outlive the reader. A `value` that is no object is a problem.
  /// Objects of the Kubernetes API match their keys exactly only.
  enum class Keys : std::uint8_t { kAnyCase, kExact };
  ConfigReader(const nlohmann::json& value, std::string path, Problems& problems,
               Keys keys = Keys::kAnyCase);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  bool isString(std::string_view key) const;
  std::string string(std::string_view key, std::string fallback = {}) const;
  /// A string, or an integer in decimal.
  std::string stringOrInteger(std::string_view key) const;
  bool boolean(std::string_view key, bool fallback = false) const;
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t min,
                                      std::int64_t max) const;
  std::vector<std::string> strings(std::string_view key) const;
  /// An object whose values are all strings.
  std::map<std::string, std::string> stringMap(std::string_view key) const;
  std::optional<IpAddress> address(std::string_view key) const;
  /// CIDR notation, host bits allowed.
  std::optional<IpPrefix> prefix(std::string_view key) const;
  std::optional<MacAddress> mac(std::string_view key) const;
  /// The value as it stands; null if absent.
  const nlohmann::json& raw(std::string_view key) const;
  /// An empty object if absent.
  ConfigReader object(std::string_view key) const;
  std::vector<ConfigReader> objects(std::string_view key) const;
  /// The elements of an array of arrays of objects (host-local's "ranges").
  std::vector<std::vector<ConfigReader>> objectLists(std::string_view key) const;

  /// Reports a problem with `key`'s value, showing the value.
  void problem(std::string_view key, std::string_view why) const;
  std::string pathOf(std::string_view key) const;
  Problems& problems() const { return *problems_; }

 private:
  const nlohmann::json* find(std::string_view key) const;
  void wrongType(std::string_view key, const nlohmann::json& value, std::string_view wanted) const;
  std::vector<ConfigReader> objectsOf(const nlohmann::json& array, const std::string& path) const;

  const nlohmann::json* value_;
  std::string path_;
  Problems* problems_;
  Keys keys_;
};

}  // namespace culvert::cni
