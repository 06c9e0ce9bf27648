// What multi reads from outside: a pod's network selection, a network, manifests and kubeconfigs in
// YAML. The first byte picks the kind.

#include <nlohmann/json.hpp>

#include "fuzz/check.h"
#include "plugins/multi/device.h"
#include "plugins/multi/kubeconfig.h"
#include "plugins/multi/manifest.h"
#include "plugins/multi/network.h"
#include "plugins/multi/plan.h"
#include "plugins/multi/selection.h"
#include "plugins/multi/yaml.h"

using namespace culvert;
using namespace culvert::plugins::multi;
using fuzz::check;

namespace {

constexpr std::size_t kInterfaceNameBytes = 16;

/// A name that goes into paths and URLs.
void checkName(const std::string& name) {
  check(name.find_first_of("/?#% \t\r\n") == std::string::npos && name != ".." && name != ".",
        "a plain name", name);
}

void checkSelection(const Selection& selection) {
  check(!selection.name.empty(), "a selection has a name");
  checkName(selection.name);
  checkName(selection.ns);
  check(selection.ifName.size() < kInterfaceNameBytes, "interface", selection.ifName);
  check(selection.runtimeConfig.is_object(), "runtimeConfig is an object");
  check(selection.cniArgs.is_null() || selection.cniArgs.is_object(), "cni-args is an object");
}

void readSelections(std::string_view text) {
  const auto selections = parseSelections(text, "networks");
  if (!selections) return check(selections.error().code == Errc::kInvalidConfig, "code 7");
  for (const Selection& selection : *selections) {
    checkSelection(selection);
    Network network;
    network.name = "n";
    network.plugins = {nlohmann::json::parse(
        R"({"type":"x","capabilities":{"mac":true,"ips":true,"portMappings":true,"bandwidth":true,
            "infinibandGUID":true,"deviceID":true}})")};
    check(applySelection(network, selection, "x").has_value(), "every wish is granted");
  }
}

void readNetwork(std::string_view text) {
  auto network = parseNetworkText(text, {.name = "fallback"}, "wire");
  if (!network) return check(network.error().code == Errc::kInvalidConfig, "code 7");
  checkName(network->name);
  check(!network->plugins.empty(), "a network has a plugin");
  (void)applySelection(*network, {}, "x");
  applyRuntime(*network, nlohmann::json::object(), nullptr);
  plugins::multi::Attachment attachment;
  attachment.ifName = "net1";
  attachment.network = std::move(*network);
  const auto back = attachmentFrom(toJson(attachment));
  check(back && toJson(*back) == toJson(attachment), "a record reads back the same", text);
}

void readYaml(const std::string& text) {
  const auto documents = parseYaml(text);
  if (!documents) return check(documents.error().code == Errc::kDecode, "code 6");
  for (const nlohmann::json& document : *documents) {
    (void)objectName(document);
    if (const auto pod = parsePod(document, "pod")) checkName(pod->name);
    if (const auto definition = parseDefinition(document, "definition"))
      checkName(definition->name);
    const auto config = parseKubeconfig(document, "kubeconfig");
    if (config) checkName(config->server.host);
    (void)parseCheckpoint(document, "u", "r");
  }
}

void readArgs(const std::string& text) {
  const auto pod = readPodReference(text);
  if (pod) {
    checkName(pod->ns);
    checkName(pod->name);
  }
  const std::string kept = argsForOthers(text);
  check(argsForOthers(kept) == kept, "nothing more to leave out", kept);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = fuzz::asText(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      readSelections(text);
      break;
    case 1:
      readNetwork(text);
      break;
    case 2:
      readYaml(std::string(text));
      break;
    default:
      readArgs(std::string(text));
  }
  return 0;
}
