#include "daemons/services/settings.h"

namespace culvert::services {
namespace {

std::vector<IpPrefix> readPrefixes(const cni::ConfigReader& section, std::string_view key) {
  std::vector<IpPrefix> result;
  for (const std::string& text : section.strings(key)) {
    if (const auto prefix = IpPrefix::parse(text))
      result.push_back(prefix->network());
    else
      section.problems().add(section.pathOf(key), "\"" + text + "\" is not a network (CIDR)");
  }
  return result;
}

}  // namespace

Settings readSettings(const cni::ConfigReader& section) {
  Settings settings;
  settings.clusterCidrs = readPrefixes(section, "clusterCIDRs");
  settings.masqueradeAll = section.boolean("masqueradeAll");
  const auto words = section.strings("nodePortAddresses");
  if (words != std::vector<std::string>{"primary"})
    settings.nodePortAddresses = readPrefixes(section, "nodePortAddresses");
  return settings;
}

}  // namespace culvert::services
