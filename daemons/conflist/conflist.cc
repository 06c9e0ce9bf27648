#include "daemons/conflist/conflist.h"

#include <nlohmann/json.hpp>

#include "base/file.h"

namespace culvert::conflist {
namespace {

using nlohmann::json;

constexpr std::size_t kListBytesMax = 1 << 20;

/// A set of ranges for each family, each with all networks of it (host-local's `ranges`).
json ranges(const std::vector<IpPrefix>& networks) {
  json sets = json::array();
  for (const Family family : {Family::kV4, Family::kV6}) {
    json set = json::array();
    for (const IpPrefix& network : networks) {
      if (network.family() == family) set.push_back({{"subnet", network.text()}});
    }
    if (!set.empty()) sets.push_back(set);
  }
  return sets;
}

json defaultRoutes(const std::vector<IpPrefix>& networks) {
  json routes = json::array();
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const IpPrefix& network : networks) {
      if (network.family() != family) continue;
      routes.push_back({{"dst", IpPrefix::any(family).text()}});
      break;
    }
  }
  return routes;
}

/// Whether the file's text is a list of our network.
bool isOurs(const std::string& text, const Settings& settings) {
  const json list = json::parse(text, nullptr, false);
  return list.is_object() && list.value("name", json()) == settings.network;
}

}  // namespace

Settings readSettings(const cni::ConfigReader& section) {
  Settings settings;
  settings.confDir = section.string("confDir", settings.confDir);
  settings.fileName = section.string("fileName", settings.fileName);
  settings.network = section.string("network", settings.network);
  settings.binDir = section.string("binDir", settings.binDir);
  settings.plugin = section.string("plugin");
  settings.replacePlugins = section.boolean("replacePlugins");
  settings.portmap = section.boolean("portmap", true);
  settings.bandwidth = section.boolean("bandwidth", true);
  if (settings.confDir.empty() || settings.confDir.front() != '/')
    section.problem("confDir", "is not an absolute path");
  if (!settings.binDir.empty() && settings.binDir.front() != '/')
    section.problem("binDir", "is not an absolute path");
  if (settings.fileName.empty() || settings.fileName.find('/') != std::string::npos ||
      settings.fileName.front() == '.')
    section.problem("fileName", "is not the name of a file");
  if (settings.network.empty()) section.problem("network", "is empty");
  return settings;
}

json render(const Settings& settings, const routing::LocalNetwork& network) {
  json main = {{"type", "ptp"},
               {"ipMasq", false},  // culvertd masquerades, and knows which destinations are pods
               {"ipam",
                {{"type", "host-local"},
                 {"ranges", ranges(network.networks)},
                 {"routes", defaultRoutes(network.networks)}}}};
  if (!settings.podAddresses.empty()) main["ipam"]["podAddresses"] = settings.podAddresses;
  if (network.mtuBytes != 0) main["mtu"] = network.mtuBytes;
  json plugins = json::array({main});
  if (settings.portmap)
    plugins.push_back({{"type", "portmap"}, {"capabilities", {{"portMappings", true}}}});
  if (settings.bandwidth)
    plugins.push_back({{"type", "bandwidth"}, {"capabilities", {{"bandwidth", true}}}});
  return {{"cniVersion", "1.0.0"}, {"name", settings.network}, {"plugins", plugins}};
}

Result<void> ensureFile(const Settings& settings, const json& list) {
  const std::string path = settings.confDir + "/" + settings.fileName;
  const std::string text = list.dump(2) + "\n";
  const auto present = readFile(path, kListBytesMax);
  if (present && *present == text) return {};
  if (!present && present.error().code != Errc::kNotFound) return present.error();
  if (present && !isOurs(*present, settings))
    return makeError(Errc::kAlreadyExists,
                     path + " is there, and is not of the network " + settings.network);
  TRY(ensureDirectory(settings.confDir, 0755));
  return replaceFile(path, text, 0644).context("write " + path);
}

Result<void> cleanUp(const Settings& settings,
                     const std::function<void(const std::string&)>& removed) {
  FirstError outcome;
  const std::string path = settings.confDir + "/" + settings.fileName;
  const auto present = readFile(path, kListBytesMax);
  if (present && isOurs(*present, settings)) {
    auto gone = removeFile(path);
    if (gone) removed("file " + path);
    outcome.note(std::move(gone));
  }
  outcome.note(removePlugins(settings, removed));
  return std::move(outcome).take();
}

}  // namespace culvert::conflist
