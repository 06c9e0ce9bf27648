#pragma once

#include <string>

#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::ipam {

/// Whether the IPAM plugin speaks through the container's interface (dhcp), so that its ADD must
/// come when the link is there, and its DEL while it still is. host-local and static, whoever
/// wrote them, answer from files and configuration; of any other plugin nothing is known, so it is
/// given the link, as the reference's interface plugins do.
bool needsLink(const std::string& type);

/// The IPAM plugin that a configuration names in `ipam.type` (CNI 1.1.0 section 4, "Delegated
/// plugins"). If the file found through CNI_PATH is the running executable itself, its handlers
/// are called in this process; anything else is executed as the specification says.
class Delegate {
 public:
  /// kInvalidConfig if the type is no plain file name; kNotFound if no CNI_PATH directory has it.
  static Result<Delegate> find(const std::string& type, const cni::Request& request);

  /// As culvert::ipam::needsLink(). The link may be down: whoever needs it up sets it up.
  bool needsLink() const { return ipam::needsLink(type_); }

  /// A foreign delegate that fails ADD is sent a DEL before the error is returned.
  Result<cni::AddResult> add(const cni::Request& request) const;
  Result<void> del(const cni::Request& request) const;
  Result<void> check(const cni::Request& request) const;
  Result<void> gc(const cni::Request& request) const;
  Result<void> status(const cni::Request& request) const;

 private:
  Delegate(std::string type, std::string path, const cni::Plugin* own)
      : type_(std::move(type)), path_(std::move(path)), own_(own) {}
  Result<void> call(const cni::Request& request, cni::Command command,
                    Result<void> (*handler)(const cni::Request&)) const;

  std::string type_;
  std::string path_;        // of the executable
  const cni::Plugin* own_;  // null: foreign
};

/// The IPAM plugins of this executable, by name; null if it has none of that name.
const cni::Plugin* findOwn(const std::string& type);

}  // namespace culvert::ipam
