#include "cni/args.h"

#include <strings.h>

#include <algorithm>

namespace culvert::cni {
namespace {

bool isTrue(const Args& args, std::string_view key) {
  const auto found = args.find(key);
  if (found == args.end()) return false;
  return found->second == "1" || strcasecmp(found->second.c_str(), "true") == 0;
}

Result<Args> splitPairs(const std::string& raw) {
  Args args;
  std::size_t start = 0;
  while (start <= raw.size()) {
    const std::size_t end = std::min(raw.find(';', start), raw.size());
    const std::string pair = raw.substr(start, end - start);
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || pair.find('=', equals + 1) != std::string::npos) {
      return makeError(Errc::kInvalidEnvironment, "CNI_ARGS: invalid pair \"" + pair + "\"");
    }
    args[pair.substr(0, equals)] = pair.substr(equals + 1);
    start = end + 1;
  }
  return args;
}

}  // namespace

Result<Args> parseArgs(const std::string& raw, std::initializer_list<std::string_view> known) {
  if (raw.empty()) return Args{};
  Args args = TRY(splitPairs(raw));
  std::string unknown;
  for (const auto& [key, value] : args) {
    const bool expected = std::find(known.begin(), known.end(), key) != known.end();
    if (!expected && key != "IgnoreUnknown") unknown += (unknown.empty() ? "" : " ") + key;
  }
  if (!unknown.empty() && !isTrue(args, "IgnoreUnknown")) {
    return makeError(Errc::kInvalidEnvironment, "CNI_ARGS: unknown args [" + unknown + "]",
                     "set IgnoreUnknown=1 to have them ignored");
  }
  return args;
}

}  // namespace culvert::cni
