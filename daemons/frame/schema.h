#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::frame {

enum class KeyType {
  kString,
  kInteger,
  kBoolean,
  kStrings,  // a list of strings; as a flag or in the environment: separated by commas
  kAny,      // whatever its reader accepts (a map with free keys, for one); not looked into
};

/// One key of the configuration, as `--help` and docs/daemon.md show it.
struct Key {
  /// "log.level"; "routing.peers[].address" for a key of the objects of a list.
  std::string path;
  KeyType type = KeyType::kString;
  std::string fallback;  // what counts when it is absent, in words if need be
  std::string help;      // one line
};

/// All keys there are: what else stands in a configuration is an error. Every part of the daemon
/// that reads a section adds its keys.
class Schema {
 public:
  void add(const std::vector<Key>& keys);

  /// `path` may hold indices: "a[3].b" finds "a[].b".
  const Key* find(const std::string& path) const;
  /// Whether keys are known below `path`.
  bool isSection(const std::string& path) const;
  /// Names of the keys and sections directly below `path` ("" is the top).
  std::vector<std::string> childrenOf(const std::string& path) const;
  const std::map<std::string, Key>& keys() const { return keys_; }

 private:
  std::map<std::string, Key> keys_;
};

/// Keys that have a flag and a variable: those outside lists that one line of text can hold.
bool isSettable(const Key& key);
/// "log.level" -> "log-level"; "stateDir" -> "state-dir".
std::string flagName(std::string_view path);
/// "log.level" -> "CULVERT_LOG_LEVEL".
std::string variableName(std::string_view path);
/// "string", "list of strings", ...
std::string_view typeName(KeyType type);
/// The candidate closest to `name` if it is close enough to be meant (at most a third of its
/// letters differ, and upper case does not count), or "".
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace culvert::frame
