#include "plugins/multi/manifest.h"

#include "cni/config_reader.h"
#include "plugins/multi/selection.h"

namespace culvert::plugins::multi {
namespace {

using cni::ConfigReader;
using cni::Problems;
using nlohmann::json;

constexpr const char* kNetworks = "k8s.v1.cni.cncf.io/networks";
constexpr const char* kDefaultNetwork = "v1.multus-cni.io/default-network";
constexpr const char* kResourceName = "k8s.v1.cni.cncf.io/resourceName";
constexpr const char* kConfigSource = "kubernetes.io/config.source";

std::optional<std::string> annotation(const ConfigReader& metadata, const char* key) {
  const ConfigReader annotations = metadata.object("annotations");
  if (!annotations.has(key)) return std::nullopt;
  return annotations.string(key);
}

void readName(const ConfigReader& metadata, std::string& ns, std::string& name) {
  ns = metadata.string("namespace", kDefaultNamespace);
  name = metadata.string("name");
  if (!isNamespaceName(ns)) metadata.problem("namespace", "is no DNS-1123 label");
  if (!isNetworkName(name)) metadata.problem("name", "is no object's name");
}

}  // namespace

ObjectName objectName(const json& object) {
  Problems ignored;
  const ConfigReader reader(object, "", ignored);
  const ConfigReader metadata = reader.object("metadata");
  return {.kind = reader.string("kind"),
          .ns = metadata.string("namespace", kDefaultNamespace),
          .name = metadata.string("name")};
}

Result<Pod> parsePod(const json& object, const std::string& where) {
  Problems problems;
  const ConfigReader metadata = ConfigReader(object, where, problems).object("metadata");
  Pod pod;
  readName(metadata, pod.ns, pod.name);
  pod.uid = metadata.string("uid");
  pod.networks = annotation(metadata, kNetworks);
  pod.defaultNetwork = annotation(metadata, kDefaultNetwork);
  const auto source = annotation(metadata, kConfigSource);
  pod.isStatic = source && *source != "api";
  TRY(problems.take());
  return pod;
}

Result<Definition> parseDefinition(const json& object, const std::string& where) {
  Problems problems;
  const ConfigReader reader(object, where, problems);
  const ConfigReader metadata = reader.object("metadata");
  Definition definition;
  readName(metadata, definition.ns, definition.name);
  definition.config = reader.object("spec").string("config");
  definition.resourceName = annotation(metadata, kResourceName).value_or("");
  TRY(problems.take());
  return definition;
}

}  // namespace culvert::plugins::multi
