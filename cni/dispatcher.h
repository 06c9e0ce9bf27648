#pragma once

#include <functional>
#include <string>

#include "cni/plugin.h"

namespace culvert::cni {

/// Where an invocation comes from and where it answers; tests inject all of it.
struct Io {
  std::function<const char*(const char*)> getEnv;       // nullptr if unset, like getenv(3)
  std::function<Result<std::string>()> readConfig;      // stdin; never called for VERSION
  std::function<Result<void>(const std::string&)> out;  // stdout: the protocol
  std::function<void(const std::string&)> err;          // stderr: free-form
};

/// The process's own environment and standard streams.
Io processIo();

/// Runs one invocation of `plugin` and returns the exit status (0 or 1). Validates environment and
/// configuration, reporting everything that is wrong in either at once, converts versions, prints
/// the result or the error object. Without CNI_COMMAND it says on stderr what it is (status 0).
int dispatch(const Plugin& plugin, const Io& io);

/// The configuration part of a Request: JSON, name, version, prevResult, valid attachments.
/// `request.command` must be set. `version` is set as early as it is known, for the error object.
Result<void> parseConfig(std::string rawConfig, const Plugin& plugin, Request& request);

}  // namespace culvert::cni
