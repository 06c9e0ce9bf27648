#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cni/types.h"
#include "cni/version.h"

namespace culvert::cni {

enum class Command { kAdd, kDel, kCheck, kGc, kStatus, kVersion };

/// One invocation, validated by the dispatcher: a plugin can rely on every field being what the
/// specification says it is. Fields that do not apply to the command are empty.
struct Request {
  Command command = Command::kAdd;
  std::string containerId;                       // CNI_CONTAINERID
  std::string netnsPath;                         // CNI_NETNS; may be empty or dangling on DEL
  std::string ifName;                            // CNI_IFNAME
  std::string args;                              // CNI_ARGS, raw; see cni/args.h
  std::vector<std::string> pluginPath;           // CNI_PATH, split at ':'
  std::string rawConfig;                         // stdin, for delegates
  std::shared_ptr<const nlohmann::json> config;  // stdin, parsed; always an object
  Version version = Version::k010;               // cniVersion
  std::string network;                           // name
  std::optional<AddResult> prevResult;
  /// GC's cni.dev/valid-attachments. Absent when the key is: then nothing is collected (an empty
  /// list, on the other hand, says that no attachment is valid).
  std::optional<std::vector<Attachment>> validAttachments;
};

/// What a plugin supplies; the dispatcher owns environment, stdin, versions, JSON and exit codes.
/// A handler returns kInvalidConfig and so on; the code travels with the Error (base/result.h).
struct Plugin {
  std::string_view name;
  Version oldest;  // the oldest cniVersion it accepts
  Result<AddResult> (*add)(const Request&);
  Result<void> (*del)(const Request&);
  Result<void> (*check)(const Request&);
  Result<void> (*gc)(const Request&);
  Result<void> (*status)(const Request&);
};

}  // namespace culvert::cni
