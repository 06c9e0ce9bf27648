#pragma once

#include <functional>

#include "cni/plugin.h"

namespace culvert::cni {

/// Reads the CNI_* variables that `request.command` takes into the request (CNI 1.1.0 section 2,
/// "Parameters"; like the reference, CNI_PATH is required for all verbs but VERSION). One
/// kInvalidEnvironment names every variable that is missing or malformed.
Result<void> readEnvironment(const std::function<const char*(const char*)>& getEnv,
                             Request& request);

/// kInvalidEnvironment if CNI_COMMAND is none of the six verbs.
Result<Command> parseCommand(std::string_view text);
std::string_view commandText(Command command);

/// `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`: what container ids and network names consist of.
bool isIdentifier(std::string_view text);

/// Why `name` cannot be an interface's name, or nothing: 1 to 15 bytes, not ".", "..", "all" or
/// "default", no '/', ':', '%' or white space (the kernel's dev_valid_name(), and the names of
/// /proc/sys/net/*/conf).
std::optional<std::string> interfaceNameProblem(const std::string& name);

/// Refuses a CNI_NETNS that is the caller's own network namespace (kInvalidNetns, code 8) unless
/// CNI_NETNS_OVERRIDE is 1 or true. A path that cannot be opened passes: it is the plugin's to
/// judge.
Result<void> refuseOwnNetns(const std::function<const char*(const char*)>& getEnv,
                            const std::string& netnsPath);

}  // namespace culvert::cni
