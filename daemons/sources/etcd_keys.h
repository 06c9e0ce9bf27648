#pragma once

#include <optional>
#include <string>

#include "daemons/sources/etcd_api.h"

namespace culvert::sources {

/// Where objects stand: PREFIX/GROUP/PLURAL/[NAMESPACE/]NAME, "core" for the group without a name.
class EtcdKeys {
 public:
  explicit EtcdKeys(std::string prefix) : prefix_(std::move(prefix)) {}

  /// Ends in a slash. All namespaces if `ns` is empty.
  std::string folder(const Kind& kind, const std::string& ns) const;
  /// kInvalidConfig if the key has no name, or parts with slashes.
  Result<std::string> path(const Kind& kind, const Key& key) const;
  /// None if it does not have the form of the kind's paths.
  std::optional<Key> parse(const Kind& kind, const std::string& path) const;

 private:
  std::string prefix_;
};

/// The object in a value: named as its key says, resourceVersion being the key's revision. kDecode.
Result<Json> decodeObject(const Kind& kind, const Key& key, const EtcdKeyValue& stored);
/// What is stored of an object: all but its resourceVersion.
std::string encodeObject(const Kind& kind, Json object);

}  // namespace culvert::sources
