#pragma once

#include <string>

#include "base/result.h"
#include "cni/version.h"

namespace culvert::cni {

/// The code that goes on the wire (CNI 1.1.0 section 5, "Error"; 100 and above are ours).
int wireCode(const Error& error);

/// {"cniVersion", "code", "msg", "details"}, indented by four spaces as the reference does.
std::string renderError(const Error& error, Version version);

/// The error object that a delegate printed on stdout; a made-up one if it printed none.
Error parseDelegateError(const std::string& plugin, const std::string& out, int exitStatus);

}  // namespace culvert::cni
