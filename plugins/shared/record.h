#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/netns.h"
#include "cni/plugin.h"

// What DEL and GC must know of an attachment and cannot read from the host's kernel: links, rules
// and routes that are only inside the container, a device's name before it was moved. One file for
// each plugin and attachment, below /run/culvert/attachments (like what it tells of, gone after a
// reboot). A record is written before the first side effect and removed after the last has been
// undone, so that a crash in between leaves one record too many, never one too few.
namespace culvert::plugins {

struct Record {
  std::string containerId, ifName;
  std::string netnsPath;                          // CNI_NETNS at ADD
  std::uint64_t netnsDevice = 0, netnsInode = 0;  // st_dev and st_ino of what was there
  nlohmann::json details;                         // the plugin's own
  std::string file;                               // where it stands

  /// The container's namespace, if that very one is still to be found under its path.
  std::optional<NetNs> openNetns() const;
};

/// Creates or replaces, atomically and readable to root only, the record of the request's
/// attachment.
Result<void> writeRecord(const cni::Request& request, std::string_view plugin,
                         const nlohmann::json& details = nlohmann::json::object());

/// Nothing if there is none; kDecode if it is damaged.
Result<std::optional<Record>> findRecord(const cni::Request& request, std::string_view plugin);

/// None to remove is success.
Result<void> removeRecord(const cni::Request& request, std::string_view plugin);

/// GC: the records of the network's attachments that are not in request.validAttachments (which
/// must be present). Remove each with removeRecord(Record) once what it tells of is gone.
Result<std::vector<Record>> listStaleRecords(const cni::Request& request, std::string_view plugin);
Result<void> removeRecord(const Record& record);

/// The request as it would be for a DEL of `record`'s attachment.
cni::Request requestFor(const cni::Request& request, const Record& record);

}  // namespace culvert::plugins
