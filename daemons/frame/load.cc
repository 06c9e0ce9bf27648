#include "daemons/frame/load.h"

#include <algorithm>

namespace culvert::frame {
namespace {

/// What a user wrote is quoted in messages, which go to terminals and logs.
Error printable(Error error) {
  for (char& c : error.message) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < ' ' && c != '\n') || byte == 0x7f) c = '?';
  }
  return error;
}

Result<Loaded> loadAsWritten(const Parts& parts, const ConfigInput& input);

}  // namespace

Schema schemaOf(const Parts& parts) {
  Schema schema;
  schema.add(settingsKeys());
  schema.add(parts.source.keys);
  for (const RoleType& role : parts.roles)
    schema.add(role.keys);
  return schema;
}

Result<Loaded> load(const Parts& parts, const ConfigInput& input) {
  auto loaded = loadAsWritten(parts, input);
  if (!loaded) return printable(std::move(loaded).error());
  return loaded;
}

namespace {

Result<Loaded> loadAsWritten(const Parts& parts, const ConfigInput& input) {
  cni::Problems problems;
  Loaded loaded;
  loaded.config = TRY(loadConfig(schemaOf(parts), input, problems));
  std::vector<std::string> names;
  for (const RoleType& role : parts.roles)
    names.push_back(role.name);
  loaded.settings = readSettings(loaded.config, names, problems);
  if (parts.source.check) parts.source.check(loaded.config, problems);
  const auto& enabled = loaded.settings.roles;
  for (const RoleType& role : parts.roles) {
    const bool isOn = std::find(enabled.begin(), enabled.end(), role.name) != enabled.end();
    if (isOn && role.check) role.check(loaded.config, loaded.settings, problems);
  }
  TRY(loaded.config.verdict(problems));
  return loaded;
}

}  // namespace

}  // namespace culvert::frame
