#include "daemons/frame/config.h"

#include <algorithm>
#include <set>

#include "base/file.h"
#include "daemons/frame/yaml_document.h"

namespace culvert::frame {

using nlohmann::json;

namespace {

std::string baseName(const std::string& path) {
  return path.substr(path.find_last_of('/') + 1);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    std::string_view part = text.substr(0, end);
    while (part.starts_with(' '))
      part.remove_prefix(1);
    while (part.ends_with(' '))
      part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// A key as it can stand in a message: what is not plain is shown as a JSON string.
std::string shownKey(const std::string& key) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; };
  if (!key.empty() && key.size() <= 64 && std::all_of(key.begin(), key.end(), plain)) return key;
  std::string shown = json(key.substr(0, 64)).dump(-1, ' ', true, json::error_handler_t::replace);
  std::replace(shown.begin(), shown.end(), ' ', '_');  // ": " ends a path
  return shown;
}

/// cni::Problems hands out one text, "path: what; path: what". A semicolon within a problem is told
/// from one between two by what follows: the path of something that this configuration holds.
std::vector<std::string> separate(const std::string& text, const std::set<std::string>& tops) {
  std::vector<std::string> list;
  std::size_t begin = 0;
  for (std::size_t at = text.find("; "); at != std::string::npos; at = text.find("; ", at + 1)) {
    const std::size_t colon = text.find(": ", at);
    if (colon == std::string::npos) break;
    const std::string path = text.substr(at + 2, colon - at - 2);
    if (path.find(' ') != std::string::npos) continue;
    if (!tops.contains(path.substr(0, path.find_first_of(".[")))) continue;
    list.push_back(text.substr(begin, at - begin));
    begin = at + 2;
  }
  list.push_back(text.substr(begin));
  return list;
}

/// "culvertd.yaml:12" -> 12; 0 if there is none.
unsigned long lineOf(const std::string& place) {
  const std::size_t colon = place.rfind(':');
  return colon == std::string::npos ? 0 : std::strtoul(place.c_str() + colon + 1, nullptr, 10);
}

void flatten(const json& value, const std::string& path, std::map<std::string, json>& leaves) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, member] : value.items())
      flatten(member, childPath(path, key), leaves);
  } else {
    leaves[path] = value;
  }
}

}  // namespace

/// Builds a Config step by step, lowest precedence first.
class ConfigLoader {
 public:
  ConfigLoader(const Schema& schema, cni::Problems& problems)
      : schema_(&schema), problems_(&problems) {}

  Result<Config> load(const ConfigInput& input) {
    config_.file_ = baseName(input.file);
    config_.environment_ = input.environment;
    TRY(readFileOf(input));
    if (!config_.root_.is_object()) {
      return makeError(Errc::kInvalidConfig, config_.file_ + ":1: is not a map of keys to values");
    }
    check(config_.root_, "");
    for (const auto& [path, key] : schema_->keys())
      fromEnvironment(key);
    for (const Override& flag : input.flags)
      apply(flag);
    return std::move(config_);
  }

 private:
  Result<void> readFileOf(const ConfigInput& input) {
    auto text = readFile(input.file, kMaxYamlBytes + 1);
    if (!text && text.error().code == Errc::kNotFound && !input.fileNamed) return {};
    if (!text) return std::move(text).error();
    auto document = parseYaml(*text);
    if (!document) {
      return makeError(Errc::kInvalidConfig, config_.file_ + ":" + document.error().message);
    }
    config_.root_ = std::move(document->root);
    for (const auto& [path, line] : document->lines)
      config_.places_[path] = config_.file_ + ":" + std::to_string(line);
    for (const auto& [path, line] : document->duplicates) {
      problems_->add(path, "stands there twice, again in line " + std::to_string(line));
    }
    return {};
  }

  void check(const json& value, const std::string& path) {
    if (!path.empty() && schema_->find(path) != nullptr) return;
    if (value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i)
        check(value[i], path + "[" + std::to_string(i) + "]");
    }
    if (!value.is_object()) return;  // its reader complains of the type
    for (const auto& [key, member] : value.items())
      checkMember(key, member, path);
  }

  void checkMember(const std::string& key, const json& member, const std::string& parent) {
    const std::string path = childPath(parent, key);
    if (schema_->find(path) != nullptr) return;
    if (!isKnown(path)) {
      unknown(parent, key);
    } else if (!member.is_structured() && !member.is_null()) {
      problems_->add(
          path, member.dump(-1, ' ', false, json::error_handler_t::replace) + " is not an object");
      config_.root_[json::json_pointer(pointerTo(path))] = nullptr;
    } else {
      check(member, path);
    }
  }

  static std::string pointerTo(const std::string& path) {
    std::string pointer = "/";
    for (const char c : path) {
      if (c == '.' || c == '[')
        pointer += '/';
      else if (c != ']')
        pointer += c;
    }
    return pointer;
  }

  void unknown(const std::string& parent, const std::string& key) {
    const std::string close = nearest(key, schema_->childrenOf(parent));
    const std::string shown = childPath(parent, shownKey(key));
    const std::string path = childPath(parent, key);
    if (shown != path) config_.places_[shown] = config_.placeOf(path);
    problems_->add(shown,
                   close.empty() ? "unknown key" : "unknown key, did you mean \"" + close + "\"?");
  }

  void fromEnvironment(const Key& key) {
    const auto variable = config_.environment_.find(variableName(key.path));
    if (!isSettable(key) || variable == config_.environment_.end()) return;
    apply({key.path, variable->second, variable->first});
  }

  void apply(const Override& value) {
    config_.places_[value.path] = value.place;
    const Key* key = schema_->find(value.path);
    if (value.path.find('[') != std::string::npos) {
      problems_->add(value.path, "an element of a list cannot be set by itself, set the list");
    } else if (key == nullptr && !isKnown(value.path)) {
      unknownPart(value.path);
    } else {
      put(value, valueOf(key, value));
    }
  }

  bool isKnown(const std::string& path) const {
    return schema_->find(path) != nullptr || schema_->isSection(path) ||
           schema_->isSection(path + "[]");
  }

  /// Reports the first part of `path` that nobody knows.
  void unknownPart(const std::string& path) {
    std::string parent;
    for (const std::string& name : split(path, '.')) {
      const std::string child = childPath(parent, name);
      if (!isKnown(child)) {
        config_.places_[child] = config_.placeOf(path);
        return unknown(parent, name);
      }
      parent = child;
    }
  }

  json valueOf(const Key* key, const Override& value) {
    if (key != nullptr && key->type == KeyType::kString) return value.text;
    if (key != nullptr && key->type == KeyType::kStrings) return split(value.text, ',');
    auto document = parseYaml("value: " + value.text);
    if (!document || document->root.size() != 1) {
      problems_->add(value.path, "not usable YAML");
      return nullptr;
    }
    return std::move(document->root["value"]);
  }

  void put(const Override& value, json&& content) {
    json* at = &config_.root_;
    for (const std::string& name : split(value.path, '.')) {
      if (!at->is_object()) *at = json::object();
      at = &(*at)[name];
    }
    *at = std::move(content);
    if (schema_->find(value.path) == nullptr) check(*at, value.path);
  }

  const Schema* schema_;
  cni::Problems* problems_;
  Config config_;
};

cni::ConfigReader Config::section(std::string_view name, cni::Problems& problems) const {
  static const json kEmpty = json::object();
  const auto found = root_.find(std::string(name));
  const bool absent = found == root_.end() || found->is_null();
  return {absent ? kEmpty : *found, std::string(name), problems};
}

std::string Config::variable(const std::string& name) const {
  const auto found = environment_.find(name);
  return found == environment_.end() ? "" : found->second;
}

std::string Config::placeOf(std::string path) const {
  while (!path.empty()) {
    if (const auto found = places_.find(path); found != places_.end()) return found->second;
    const std::size_t end = path.find_last_of(".[");
    path.resize(end == std::string::npos ? 0 : end);
  }
  return file_;
}

Result<void> Config::verdict(const cni::Problems& problems) const {
  const auto outcome = problems.take();
  if (outcome) return {};
  std::set<std::string> tops;
  for (const auto& [path, place] : places_)
    tops.insert(path.substr(0, path.find_first_of(".[")));
  for (const auto& [name, value] : root_.items())
    tops.insert(name);
  tops.insert({"roles", "nodeName"});                // what may be missing
  std::multimap<unsigned long, std::string> byLine;  // flags and variables have none: first
  std::set<std::string> seen;
  for (const std::string& problem : separate(outcome.error().message, tops)) {
    if (!seen.insert(problem).second) continue;
    const std::string place = placeOf(problem.substr(0, problem.find(": ")));
    std::string text = place;
    text.append(": ").append(problem);
    byLine.emplace(lineOf(place), std::move(text));
  }
  std::string lines;
  for (const auto& [line, problem] : byLine)
    lines += (lines.empty() ? "" : "\n") + problem;
  return makeError(Errc::kInvalidConfig, lines);
}

std::vector<std::string> Config::differences(const Config& other) const {
  std::map<std::string, json> mine;
  std::map<std::string, json> theirs;
  flatten(root_, "", mine);
  flatten(other.root_, "", theirs);
  std::set<std::string> paths;
  for (const auto& [path, value] : mine)
    if (!theirs.contains(path) || theirs.at(path) != value) paths.insert(path);
  for (const auto& [path, value] : theirs)
    if (!mine.contains(path)) paths.insert(path);
  paths.erase("");
  return {paths.begin(), paths.end()};
}

Result<Config> loadConfig(const Schema& schema, const ConfigInput& input, cni::Problems& problems) {
  return ConfigLoader(schema, problems).load(input);
}

}  // namespace culvert::frame
