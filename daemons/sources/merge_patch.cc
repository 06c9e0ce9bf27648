#include "daemons/sources/merge_patch.h"

#include <nlohmann/json.hpp>

namespace culvert::sources {

using nlohmann::json;

namespace {

constexpr int kMaxDepth = 64;

int depthOf(const json& value) {
  int deepest = 0;
  if (value.is_object()) {
    for (const auto& member : value)
      deepest = std::max(deepest, depthOf(member));
  }
  return deepest + 1;
}

}  // namespace

Result<json> applyMergePatch(json target, const json& patch) {
  if (!patch.is_object()) return makeError(Errc::kInvalidConfig, "the patch is not an object");
  if (depthOf(patch) > kMaxDepth) return makeError(Errc::kInvalidConfig, "the patch is too deep");
  target.merge_patch(patch);
  return target;
}

json diffMergePatch(const json& from, const json& to) {
  if (!from.is_object() || !to.is_object()) return to;
  json patch = json::object();
  for (const auto& [key, value] : from.items()) {
    if (!to.contains(key) || to[key].is_null()) patch[key] = nullptr;
  }
  for (const auto& [key, value] : to.items()) {
    if (value.is_null()) continue;
    if (!from.contains(key)) {
      patch[key] = value;
    } else if (from[key] != value) {
      patch[key] = diffMergePatch(from[key], value);
    }
  }
  return patch;
}

}  // namespace culvert::sources
