#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace culvert::cni {

using Args = std::map<std::string, std::string, std::less<>>;

/// Parses CNI_ARGS ("IgnoreUnknown=1;MAC=0a:..."), the way the reference does: each pair has
/// exactly one '=', keys are case-sensitive, a key that is not `known` is refused
/// (kInvalidEnvironment) unless IgnoreUnknown is 1 or true.
Result<Args> parseArgs(const std::string& raw, std::initializer_list<std::string_view> known);

}  // namespace culvert::cni
