#include "daemons/sources/etcd_keys.h"

#include "cni/json.h"

namespace culvert::sources {

std::string EtcdKeys::folder(const Kind& kind, const std::string& ns) const {
  return prefix_ + "/" + (kind.group.empty() ? "core" : std::string(kind.group)) + "/" +
         std::string(kind.plural) + "/" + (kind.namespaced && !ns.empty() ? ns + "/" : "");
}

Result<std::string> EtcdKeys::path(const Kind& kind, const Key& key) const {
  const bool isNamed = !key.name.empty() && key.text().size() <= 512 &&
                       key.name.find('/') == std::string::npos &&
                       key.ns.find('/') == std::string::npos && key.ns.empty() != kind.namespaced;
  if (isNamed) return folder(kind, key.ns) + key.name;
  return makeError(Errc::kInvalidConfig,
                   "\"" + key.text() + "\" cannot name one of the " + std::string(kind.plural));
}

std::optional<Key> EtcdKeys::parse(const Kind& kind, const std::string& path) const {
  const std::string start = folder(kind, "");
  if (!path.starts_with(start)) return std::nullopt;
  const std::string rest = path.substr(start.size());
  const std::size_t slash = rest.find('/');
  Key key{"", rest};
  if (kind.namespaced) {
    if (slash == std::string::npos || slash == 0) return std::nullopt;
    key = {rest.substr(0, slash), rest.substr(slash + 1)};
  }
  if (key.name.empty() || key.name.find('/') != std::string::npos) return std::nullopt;
  return key;
}

Result<Json> decodeObject(const Kind& kind, const Key& key, const EtcdKeyValue& stored) {
  Json object = TRY(cni::parseJson(stored.value));
  if (!object.is_object()) return makeError(Errc::kDecode, "not a JSON object");
  Json& metadata = object["metadata"];
  if (metadata.is_null()) metadata = Json::object();
  if (!metadata.is_object()) return makeError(Errc::kDecode, "metadata is not an object");
  metadata["name"] = key.name;
  if (!key.ns.empty()) metadata["namespace"] = key.ns;
  metadata["resourceVersion"] = std::to_string(stored.modRevision);
  object["apiVersion"] = kind.apiVersion();
  object["kind"] = kind.name;
  return object;
}

std::string encodeObject(const Kind& kind, Json object) {
  object["apiVersion"] = kind.apiVersion();
  object["kind"] = kind.name;
  object["metadata"].erase("resourceVersion");
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace culvert::sources
