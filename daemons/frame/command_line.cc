#include "daemons/frame/command_line.h"

#include <algorithm>
#include <boost/program_options.hpp>

namespace culvert::frame {
namespace {

namespace po = boost::program_options;

po::options_description options(const Schema& schema) {
  po::options_description all;
  auto add = all.add_options();
  add("config", po::value<std::string>());
  add("set", po::value<std::vector<std::string>>()->composing());
  add("check", po::bool_switch());
  add("cleanup", po::bool_switch());
  add("version", po::bool_switch());
  add("help,h", po::bool_switch());
  for (const auto& [path, key] : schema.keys()) {
    if (isSettable(key)) add(flagName(path).c_str(), po::value<std::string>());
  }
  return all;
}

Result<po::variables_map> parse(const std::vector<std::string>& arguments, const Schema& schema) {
  try {
    using Style = po::command_line_style::style_t;
    const auto all = options(schema);
    po::variables_map values;
    po::store(po::command_line_parser(arguments)
                  .options(all)
                  .positional({})
                  .style(Style::unix_style & ~Style::allow_guessing)
                  .run(),
              values);
    return values;
  } catch (const std::exception& problem) {
    return makeError(Errc::kInvalidConfig, std::string("command line: ") + problem.what() +
                                               " (culvertd --help shows all flags)");
  }
}

std::map<std::string, std::string> variables(const char* const* environment) {
  std::map<std::string, std::string> result;
  for (; *environment != nullptr; ++environment) {
    const std::string entry = *environment;
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos) continue;
    const std::string name = entry.substr(0, equals);
    if (name.starts_with("CULVERT_") || name == "NODE_NAME")
      result[name] = entry.substr(equals + 1);
  }
  return result;
}

Result<std::vector<Override>> overrides(const po::variables_map& values, const Schema& schema) {
  std::vector<Override> list;
  for (const auto& [path, key] : schema.keys()) {
    const std::string flag = flagName(path);
    if (isSettable(key) && values.contains(flag)) {
      list.push_back({path, values[flag].as<std::string>(), "--" + flag});
    }
  }
  if (!values.contains("set")) return list;
  for (const std::string& pair : values["set"].as<std::vector<std::string>>()) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return makeError(Errc::kInvalidConfig, "--set " + pair + ": is not PATH=VALUE");
    }
    list.push_back({pair.substr(0, equals), pair.substr(equals + 1), "--set"});
  }
  return list;
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}

}  // namespace

Result<CommandLine> parseCommandLine(const std::vector<std::string>& arguments,
                                     const char* const* environment, const Schema& schema) {
  const auto values = TRY(parse(arguments, schema));
  CommandLine line;
  line.check = values["check"].as<bool>();
  line.cleanup = values["cleanup"].as<bool>();
  line.version = values["version"].as<bool>();
  line.help = values["help"].as<bool>();
  line.input.environment = variables(environment);
  line.input.flags = TRY(overrides(values, schema));
  const auto fromEnvironment = line.input.environment.find("CULVERT_CONFIG");
  if (values.contains("config"))
    line.input.file = values["config"].as<std::string>();
  else if (fromEnvironment != line.input.environment.end())
    line.input.file = fromEnvironment->second;
  line.input.fileNamed = values.contains("config") || line.input.file != kDefaultConfigFile;
  return line;
}

std::string helpText(const Schema& schema) {
  std::string text =
      "Usage: culvertd [--config FILE] [--check | --cleanup] [--KEY VALUE]... [--set "
      "PATH=VALUE]...\n"
      "\n"
      "  --config FILE     configuration, YAML (default /etc/culvert/culvertd.yaml, which may be\n"
      "                    missing; or $CULVERT_CONFIG)\n"
      "  --check           only say whether the configuration is right\n"
      "  --cleanup         remove from this host all that culvertd keeps there, and say what; not\n"
      "                    while it runs\n"
      "  --set PATH=VALUE  set any key\n"
      "  --version, --help\n"
      "\n"
      "Keys. \"log.level\" is also the flag --log-level and the variable CULVERT_LOG_LEVEL. A "
      "flag\n"
      "counts more than a variable, a variable more than the file.\n\n";
  for (const auto& [path, key] : schema.keys()) {
    text += "  " + padded(path, 30) + padded(std::string(typeName(key.type)), 17) + key.help;
    if (!key.fallback.empty()) text += " (default: " + key.fallback + ")";
    text += '\n';
  }
  return text;
}

}  // namespace culvert::frame
