#include "daemons/objects/metadata.h"

#include <nlohmann/json.hpp>

#include "cni/config_reader.h"

namespace culvert::objects {

const std::string& Metadata::annotation(const std::string& key) const {
  static const std::string kNone;
  const auto found = annotations.find(key);
  return found == annotations.end() ? kNone : found->second;
}

nlohmann::json Metadata::toJson() const {
  nlohmann::json json = {{"name", name}};
  if (!ns.empty()) json["namespace"] = ns;
  if (!uid.empty()) json["uid"] = uid;
  if (!labels.empty()) json["labels"] = labels;
  if (!annotations.empty()) json["annotations"] = annotations;
  return json;
}

Result<Metadata> Metadata::parse(const nlohmann::json& object) {
  cni::Problems problems;
  const cni::ConfigReader reader =
      cni::ConfigReader(object, "", problems, cni::ConfigReader::Keys::kExact).object("metadata");
  Metadata result{reader.string("namespace"), reader.string("name"), reader.string("uid"),
                  reader.stringMap("labels"), reader.stringMap("annotations")};
  if (result.name.empty()) problems.add("metadata.name", "missing");
  TRY(problems.take());
  return result;
}

}  // namespace culvert::objects
