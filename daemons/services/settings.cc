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

std::optional<frame::ListenAddress> readAddress(const cni::ConfigReader& section,
                                                const char* fallback) {
  const std::string text = section.string("address", fallback);
  if (text.empty()) return std::nullopt;
  const auto address = frame::ListenAddress::parse(text);
  if (!address) section.problem("address", "is not ADDRESS:PORT or [IPv6]:PORT");
  return address;
}

}  // namespace

Settings readSettings(const cni::ConfigReader& section) {
  Settings settings;
  settings.clusterCidrs = readPrefixes(section, "clusterCIDRs");
  settings.masqueradeAll = section.boolean("masqueradeAll");
  const auto words = section.strings("nodePortAddresses");
  if (words != std::vector<std::string>{"primary"})
    settings.nodePortAddresses = readPrefixes(section, "nodePortAddresses");
  settings.healthz = readAddress(section.object("healthz"), "0.0.0.0:10256");
  settings.metrics = readAddress(section.object("metrics"), "127.0.0.1:10249");
  return settings;
}

}  // namespace culvert::services
