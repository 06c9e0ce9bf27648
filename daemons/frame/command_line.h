#pragma once

#include <string>
#include <vector>

#include "daemons/frame/config.h"

namespace culvert::frame {

/// What culvertd was called with.
struct CommandLine {
  ConfigInput input;
  bool check = false;
  bool cleanup = false;
  bool version = false;
  bool help = false;
};

/// Flags: --config, --check, --cleanup, --version, --help, --set PATH=VALUE, and one for each
/// settable key of the schema. `environment` as main() gets it. kInvalidConfig for flags that do
/// not exist.
Result<CommandLine> parseCommandLine(const std::vector<std::string>& arguments,
                                     const char* const* environment, const Schema& schema);

/// The text of --help: how to call it, and a table of all keys.
std::string helpText(const Schema& schema);

}  // namespace culvert::frame
