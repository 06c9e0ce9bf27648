#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace culvert::plugins {

inline constexpr char kAllowlistFile[] = "/etc/cni/tuning/allowlist.conf";

/// The patterns of the node's administrator, one in each line: POSIX extended regular expressions
/// with GNU's \w, \s and \b, and \d; not anchored. Compiled only where a key is to be matched.
class Allowlist {
 public:
  /// Nothing if there is no file: then every sysctl is allowed.
  static Result<std::optional<Allowlist>> read(const std::string& file);
  static Allowlist parse(const std::string& text);

  /// kInvalidConfig if no pattern matches `key` (as configured, IFNAME not replaced) or a pattern
  /// is none: back-references, and repetitions that multiply to more than 1000, are refused, as
  /// matching them has no bound.
  Result<void> permits(const std::string& key) const;

 private:
  std::vector<std::string> patterns_;
};

}  // namespace culvert::plugins
