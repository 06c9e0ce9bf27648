#include "plugins/multi/network.h"

#include <strings.h>

#include <algorithm>

#include "cni/config_reader.h"
#include "cni/environment.h"
#include "cni/json.h"
#include "cni/result_json.h"

namespace culvert::plugins::multi {
namespace {

using cni::ConfigReader;
using cni::Problems;
using cni::Version;
using nlohmann::json;

constexpr std::size_t kMaxPlugins = 32;
constexpr std::string_view kOwnType = "multi";

/// Of "cniVersion" and "cniVersions" the newest we speak.
Version readVersion(const ConfigReader& reader, Version fallback) {
  std::vector<std::string> texts = reader.strings("cniVersions");
  const std::string one = reader.string("cniVersion");
  if (!one.empty()) texts.push_back(one);
  std::optional<Version> newest;
  for (const std::string& text : texts) {
    const auto version = cni::parseVersion(text);
    if (version && (!newest || *version > *newest)) newest = version;
  }
  if (!newest && !texts.empty()) reader.problem("cniVersion", "is no version we speak");
  return newest.value_or(fallback);
}

/// libcni takes these as booleans and as the strings "true" and "false".
bool readFlag(const ConfigReader& reader, const char* key) {
  if (!reader.raw(key).is_string()) return reader.boolean(key);
  const std::string text = reader.string(key);
  if (text != "true" && text != "false") reader.problem(key, "is not true or false");
  return text == "true";
}

void readPlugin(const ConfigReader& reader) {
  const std::string type = reader.string("type");
  if (type.empty()) reader.problems().add(reader.pathOf("type"), "is missing");
  if (type.find('/') != std::string::npos) reader.problem("type", "is not a plain file name");
  if (type == kOwnType) reader.problem("type", "cannot be a network of itself");
}

void readPlugins(const ConfigReader& reader, Network& network) {
  const json& list = reader.raw("plugins");
  if (!list.is_array() || list.empty() || list.size() > kMaxPlugins) {
    reader.problem("plugins", "is not a list of 1 to " + std::to_string(kMaxPlugins) + " plugins");
    return;
  }
  for (const ConfigReader& item : reader.objects("plugins"))
    readPlugin(item);
  network.plugins.assign(list.begin(), list.end());
}

/// The capabilities that a plugin's configuration declares.
bool hasCapability(const json& plugin, const std::string& capability) {
  const auto capabilities = plugin.find("capabilities");
  if (capabilities == plugin.end() || !capabilities->is_object()) return false;
  const auto found = capabilities->find(capability);
  return found != capabilities->end() && found->is_boolean() && found->get<bool>();
}

json& objectAt(json& parent, const char* key) {
  json& child = parent[key];
  if (!child.is_object()) child = json::object();
  return child;
}

void addRuntimeConfig(json& plugin, const json& runtimeConfig) {
  if (!runtimeConfig.is_object()) return;
  for (const auto& [capability, value] : runtimeConfig.items()) {
    if (hasCapability(plugin, capability)) objectAt(plugin, "runtimeConfig")[capability] = value;
  }
}

/// `wanted`'s keys into args.cni, over what the plugin's configuration has there.
void addCniArgs(json& plugin, const json& wanted) {
  if (!wanted.is_object() || wanted.empty()) return;
  objectAt(objectAt(plugin, "args"), "cni").update(wanted);
}

/// As Multus does: plugins know a device as runtimeConfig.deviceID, as deviceID or as pciBusID.
void addDevice(json& plugin, const std::string& device) {
  if (device.empty()) return;
  plugin["deviceID"] = device;
  plugin["pciBusID"] = device;
  addRuntimeConfig(plugin, {{"deviceID", device}});
}

/// Everything that the plugins must agree upon comes from the list (CNI 1.1.0 section 3).
void addIdentity(Network& network) {
  for (json& plugin : network.plugins) {
    plugin["name"] = network.name;
    plugin["cniVersion"] = cni::versionText(network.version);
    plugin.erase("prevResult");
  }
}

bool hasKey(const std::string& pair, std::initializer_list<std::string_view> keys) {
  const std::string_view key = std::string_view(pair).substr(0, pair.find('='));
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

json resultJson(const cni::AddResult& result) {
  return json::parse(*cni::renderResult(result, cni::kNewest));
}

}  // namespace

Result<Network> parseNetwork(const json& config, const NetworkDefaults& defaults,
                             const std::string& where) {
  Problems problems;
  const ConfigReader reader(config, where, problems);
  Network network;
  network.name = reader.string("name", defaults.name);
  if (network.name.empty()) network.name = defaults.name;
  if (!isNetworkName(network.name)) reader.problem("name", "is no network name");
  network.version = readVersion(reader, defaults.version);
  network.disableCheck = readFlag(reader, "disableCheck");
  network.disableGc = readFlag(reader, "disableGC");
  if (reader.has("plugins")) {
    readPlugins(reader, network);
  } else {
    readPlugin(reader);
    network.plugins.push_back(config);
  }
  TRY(problems.take());
  return network;
}

Result<Network> parseNetworkText(std::string_view text, const NetworkDefaults& defaults,
                                 const std::string& where) {
  const auto config = cni::parseJson(text);
  if (!config) return makeError(Errc::kInvalidConfig, where + ": " + config.error().message);
  return parseNetwork(*config, defaults, where);
}

Result<void> applySelection(Network& network, const Selection& selection,
                            const std::string& where) {
  addIdentity(network);
  for (const auto& wish : selection.runtimeConfig.items()) {
    const std::string& capability = wish.key();
    const bool taken =
        std::any_of(network.plugins.begin(), network.plugins.end(),
                    [&](const json& plugin) { return hasCapability(plugin, capability); });
    if (taken) continue;
    return makeError(Errc::kInvalidConfig, where + ": " + capability +
                                               " is asked for, but no plugin of network '" +
                                               network.name + "' declares that capability");
  }
  for (json& plugin : network.plugins) {
    addRuntimeConfig(plugin, selection.runtimeConfig);
    addCniArgs(plugin, selection.cniArgs);
    addDevice(plugin, selection.device);
  }
  return {};
}

void applyRuntime(Network& network, const json& runtimeConfig, const json& args) {
  addIdentity(network);
  for (json& plugin : network.plugins) {
    addRuntimeConfig(plugin, runtimeConfig);
    if (args.is_object()) addCniArgs(plugin, args.value("cni", json()));
  }
}

std::string argsForOthers(const std::string& args) {
  std::string kept;
  std::size_t start = 0;
  while (start < args.size()) {
    const std::size_t end = std::min(args.find(';', start), args.size());
    const std::string pair = args.substr(start, end - start);
    if (!pair.empty() && !hasKey(pair, {"MAC", "IP", "GATEWAY"}))
      kept += (kept.empty() ? "" : ";") + pair;
    start = end + 1;
  }
  return kept;
}

json toJson(const Attachment& attachment) {
  const Network& network = attachment.network;
  json object = {{"name", attachment.name},
                 {"interface", attachment.ifName},
                 {"args", attachment.args},
                 {"default", attachment.isDefault},
                 {"network", network.name},
                 {"cniVersion", cni::versionText(network.version)},
                 {"disableCheck", network.disableCheck},
                 {"disableGC", network.disableGc},
                 {"plugins", network.plugins}};
  if (attachment.defaultRoute) {
    object["defaultRoute"] = json::array();
    for (const IpAddress& gateway : *attachment.defaultRoute)
      object["defaultRoute"].push_back(gateway.text());
  }
  if (attachment.result) object["result"] = resultJson(*attachment.result);
  return object;
}

Result<Attachment> attachmentFrom(const json& object) {
  Problems problems;
  const ConfigReader reader(object, "networks[]", problems);
  Attachment attachment;
  attachment.name = reader.string("name");
  attachment.ifName = reader.string("interface");
  attachment.args = reader.string("args");
  attachment.isDefault = reader.boolean("default");
  if (cni::interfaceNameProblem(attachment.ifName) || attachment.ifName.empty())
    reader.problem("interface", "is no interface name");
  if (reader.has("defaultRoute")) {
    attachment.defaultRoute.emplace();
    for (const std::string& text : reader.strings("defaultRoute"))
      if (const auto gateway = IpAddress::parse(text)) attachment.defaultRoute->push_back(*gateway);
  }
  if (reader.has("result"))
    attachment.result = cni::parseResult(reader.raw("result"), cni::kNewest, "result", problems);
  json list = object;
  if (list.is_object()) list["name"] = reader.string("network");
  Result<Network> network = parseNetwork(list, {}, "networks[]");
  if (network) attachment.network = std::move(*network);
  const Result<void> outcome = problems.take();
  if (!outcome) return makeError(Errc::kDecode, outcome.error().message);
  if (!network) return makeError(Errc::kDecode, network.error().message);
  return attachment;
}

}  // namespace culvert::plugins::multi
