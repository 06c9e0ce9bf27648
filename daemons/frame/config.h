#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cni/config_reader.h"
#include "daemons/frame/schema.h"

namespace culvert::frame {

inline constexpr const char* kDefaultConfigFile = "/etc/culvert/culvertd.yaml";

/// One value from a flag or a variable.
struct Override {
  std::string path;   // "log.level"
  std::string text;   // "debug"
  std::string place;  // how the user knows it: "--log-level", "CULVERT_LOG_LEVEL"
};

/// Everything a configuration is made of. Precedence: flags, environment, file, defaults.
struct ConfigInput {
  std::string file = kDefaultConfigFile;
  bool fileNamed = false;  // by the user: its absence is an error then
  std::map<std::string, std::string> environment;
  std::vector<Override> flags;
};

/// The merged configuration, and where each value came from.
class Config {
 public:
  const nlohmann::json& root() const { return root_; }
  /// A reader of one section, which is an empty object if it is absent. The Config must outlive it.
  cni::ConfigReader section(std::string_view name, cni::Problems& problems) const;
  /// A variable of the environment it was loaded with, or "".
  std::string variable(const std::string& name) const;

  /// Where `path`, or the closest thing around it, was set: "culvertd.yaml:12", "--log-level".
  std::string placeOf(std::string path) const;
  /// kInvalidConfig with one line for each problem, "culvertd.yaml:12: log.level: ...", or success.
  Result<void> verdict(const cni::Problems& problems) const;

  /// Paths of all leaf values that differ, sorted.
  std::vector<std::string> differences(const Config& other) const;

 private:
  friend class ConfigLoader;
  nlohmann::json root_ = nlohmann::json::object();
  std::string file_;
  std::map<std::string, std::string> places_;
  std::map<std::string, std::string> environment_;
};

/// Merges and checks against the schema: unknown keys, keys that stand there twice, sections that
/// are none. What a value means is for its section's reader to judge, so the problems found here
/// are added to `problems`, for Config::verdict() to report with all others. An error only if the
/// file cannot be read as YAML at all.
Result<Config> loadConfig(const Schema& schema, const ConfigInput& input, cni::Problems& problems);

}  // namespace culvert::frame
