#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace culvert::objects {

/// A Secret (core/v1): its values, decoded.
struct Secret {
  std::map<std::string, std::string> data;
  bool operator==(const Secret&) const = default;
  /// `stringData` (of manifests) lies over `data`, whose values are base64.
  static Result<Secret> parse(const nlohmann::json& object);
};

}  // namespace culvert::objects
