#pragma once

#include <string>

#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::cni {

/// The regular file called `type` in the first directory of CNI_PATH that has one. A `type` that is
/// empty or has a '/' in it is kInvalidConfig, one that is not found kNotFound.
Result<std::string> findPlugin(const std::string& type, const Request& request);

/// Whether `path` is (a link to) the file this process runs.
bool isThisExecutable(const std::string& path);

/// Executes a plugin that is not ours: environment inherited but for the CNI_* variables, which are
/// `command`'s and the request's, the whole configuration on stdin, stderr passed through. Returns
/// its stdout; a failure is the error it printed, with its code. Waits as long as it runs: the
/// runtime owns the deadline.
Result<std::string> executePlugin(const std::string& path, Command command, const Request& request);

}  // namespace culvert::cni
