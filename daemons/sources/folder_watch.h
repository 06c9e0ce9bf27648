#pragma once

#include <set>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace culvert::sources {

/// inotify(7) on a folder that may come and go.
class FolderWatch {
 public:
  static Result<FolderWatch> open(std::string folder);

  /// Readable when something has happened.
  int fd() const { return fd_.get(); }

  /// What has happened since the last call, to be looked at again.
  struct Changes {
    std::set<std::string> names;  // of files in the folder
    bool everything = false;      // events were lost, or the folder itself was replaced
    bool any() const { return everything || !names.empty(); }
  };
  Changes take();

  /// Whether the folder is there, and watched. If not, its coming is awaited (Changes::everything).
  bool present() const { return present_; }

 private:
  FolderWatch(std::string folder, UniqueFd fd) : folder_(std::move(folder)), fd_(std::move(fd)) {}
  void arm();
  void awaitAppearance();

  std::string folder_;
  UniqueFd fd_;
  int watch_ = -1;
  bool present_ = false;
};

}  // namespace culvert::sources
