#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace culvert::objects {

using Labels = std::map<std::string, std::string>;

/// What Culvert uses of an object's `metadata` (Kubernetes API conventions, "Metadata").
struct Metadata {
  std::string ns, name, uid;
  Labels labels, annotations;

  /// The annotation's value, or an empty string.
  const std::string& annotation(const std::string& key) const;
  bool operator==(const Metadata&) const = default;

  /// As parse() reads it; what is empty is left out.
  nlohmann::json toJson() const;
  /// kInvalidConfig without a name, or if a field has another type than the API's.
  static Result<Metadata> parse(const nlohmann::json& object);
};

}  // namespace culvert::objects
