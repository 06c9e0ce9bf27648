#pragma once

#include <string>

#include "base/result.h"
#include "cni/plugin.h"

namespace culvert::ipam {

/// The IPAM plugin that a configuration names in `ipam.type` (CNI 1.1.0 section 4, "Delegated
/// plugins"). If the file found through CNI_PATH is the running executable itself, its handlers
/// are called in this process; anything else is executed as the specification says.
class Delegate {
 public:
  /// kInvalidConfig if the type is no plain file name; kNotFound if no CNI_PATH directory has it.
  static Result<Delegate> find(const std::string& type, const cni::Request& request);

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
