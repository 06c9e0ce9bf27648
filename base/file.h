#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace culvert {

/// Everything that can be read from `fd`, or kDecode once it exceeds `maxBytes`.
Result<std::string> readAll(int fd, std::size_t maxBytes);

/// A regular file's content; symbolic links are followed. `maxBytes` as in readAll().
Result<std::string> readFile(const std::string& path, std::size_t maxBytes);

/// All of `data`, however many writes it takes.
Result<void> writeAll(int fd, std::string_view data);

/// Makes `data` the content of `path`, whole or not at all: written beside it as `path`.new (which
/// a crash may leave, and the next call replaces), then renamed. A symbolic link at `path` is
/// replaced, not followed.
Result<void> replaceFile(const std::string& path, std::string_view data, unsigned mode);

/// Removes `path`, and `path`.new. None there is success.
Result<void> removeFile(const std::string& path);

/// The names in the directory `path`, in no order, but "." and "..". kNotFound: there is none. All
/// or an error, never a part.
Result<std::vector<std::string>> listDirectory(const std::string& path);

/// Creates `path` and its missing parents with `mode`. An existing directory is success.
Result<void> ensureDirectory(const std::string& path, unsigned mode);

}  // namespace culvert
