#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cni/plugin.h"
#include "plugins/multi/network.h"

namespace culvert::plugins::multi {

/// All that was done, or was about to be done, for one container: enough to undo it with the
/// definitions gone, the configuration changed and the API server down.
struct Entry {
  std::string network;  // multi's own name
  std::string containerId, ifName;
  std::string netnsPath;
  std::string bootId;  // of the boot it was written in
  std::string binDir;
  std::vector<Attachment> attachments;
  std::string file;  // where it stands; not part of the content
};

/// One file for each container in `cniDir`: the addresses that foreign IPAM plugins reserved
/// survive a reboot, and so must the knowledge of them. Written before the first side effect, again
/// with the results, and removed after everything is undone; atomically, readable to root only.
class Journal {
 public:
  explicit Journal(std::string folder) : folder_(std::move(folder)) {}

  Result<void> write(const Entry& entry) const;
  /// Nothing if there is none; kDecode if it is damaged.
  Result<std::optional<Entry>> find(const cni::Request& request) const;
  Result<void> remove(const Entry& entry) const;
  Result<void> remove(const cni::Request& request) const;
  /// GC: removes what a killed process was writing and never finished.
  Result<void> removeUnfinished() const;
  /// Those of all multi networks. A damaged one is kDecode: nobody can tell then what is in use.
  Result<std::vector<Entry>> list() const;

 private:
  Result<std::vector<std::string>> listFiles(std::string_view suffix) const;
  std::string pathOf(const std::string& network, const std::string& containerId,
                     const std::string& ifName) const;
  std::string folder_;
};

/// Of this boot (/proc/sys/kernel/random/boot_id).
Result<std::string> readBootId();

}  // namespace culvert::plugins::multi
