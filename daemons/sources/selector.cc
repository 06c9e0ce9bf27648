#include "daemons/sources/selector.h"

#include <nlohmann/json.hpp>

namespace culvert::sources {

namespace {

constexpr const char* kName = "metadata.name";
constexpr const char* kNamespace = "metadata.namespace";

objects::Labels labelsOf(const Json& object) {
  objects::Labels result;
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return result;
  const auto labels = metadata->find("labels");
  if (labels == metadata->end() || !labels->is_object()) return result;
  for (const auto& [key, value] : labels->items()) {
    if (value.is_string()) result.emplace(key, value.get_ref<const std::string&>());
  }
  return result;
}

}  // namespace

Result<Selector> Selector::parse(const Query& query) {
  Selector selector;
  selector.ns_ = query.ns;
  selector.fields_ =
      TRY(objects::Selector::fromQuery(query.fieldSelector).context("field selector"));
  selector.labels_ =
      TRY(objects::Selector::fromQuery(query.labelSelector).context("label selector"));
  if (!selector.fields_.comparesOnly({kName, kNamespace}))
    return makeError(Errc::kInvalidConfig, "field selector " + query.fieldSelector +
                                               ": only metadata.name and metadata.namespace");
  return selector;
}

bool Selector::matches(const Key& key, const Json& object) const {
  if (!ns_.empty() && key.ns != ns_) return false;
  if (!fields_.matchesAll() && !fields_.matches({{kName, key.name}, {kNamespace, key.ns}}))
    return false;
  return labels_.matchesAll() || labels_.matches(labelsOf(object));
}

}  // namespace culvert::sources
