#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace culvert {

/// Everything that can be read from `fd`, or kDecode once it exceeds `maxBytes`.
Result<std::string> readAll(int fd, std::size_t maxBytes);

/// A regular file's content; symbolic links are followed. `maxBytes` as in readAll().
Result<std::string> readFile(const std::string& path, std::size_t maxBytes);

/// All of `data`, however many writes it takes.
Result<void> writeAll(int fd, std::string_view data);

/// Creates `path` and its missing parents with `mode`. An existing directory is success.
Result<void> ensureDirectory(const std::string& path, unsigned mode);

}  // namespace culvert
