#include "daemons/services/settings.h"

#include <algorithm>
#include <array>

#include "daemons/services/duration.h"

namespace culvert::services {
namespace {

using std::chrono::milliseconds;

constexpr std::array<std::string_view, 3> kWords{"primary", "localhost", "all"};
constexpr std::int64_t kMaxEntries = 2'147'483'647;  // as the kernel's own type

std::vector<IpPrefix> prefixesIn(const cni::ConfigReader& section, std::string_view key,
                                 const std::vector<std::string>& texts) {
  std::vector<IpPrefix> result;
  for (const std::string& text : texts) {
    if (const auto prefix = IpPrefix::parse(text))
      result.push_back(prefix->network());
    else
      section.problems().add(section.pathOf(key), "\"" + text + "\" is not a network (CIDR)");
  }
  return result;
}

NodePortAddresses readNodePorts(const cni::ConfigReader& section) {
  constexpr const char* kKey = "nodePortAddresses";
  auto texts = section.strings(kKey);
  if (texts.empty()) return {};
  const auto takes = [&](std::string_view word) { return std::erase(texts, word) != 0; };
  NodePortAddresses result;
  result.primary = takes("primary");
  result.localhost = takes("localhost");
  result.all = takes("all");
  result.localhost = result.localhost || result.all;
  result.networks = prefixesIn(section, kKey, texts);
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

std::optional<milliseconds> readDuration(const cni::ConfigReader& section, const char* key) {
  if (!section.has(key)) return std::nullopt;
  const auto parsed = section.isString(key) ? parseDuration(section.string(key)) : std::nullopt;
  if (!parsed) section.problem(key, "is not a duration, such as \"1h30m\" or \"500ms\"");
  return parsed;
}

ConntrackSettings readConntrack(const cni::ConfigReader& section) {
  ConntrackSettings result;
  const auto entries = [&](const char* key, std::uint64_t fallback) {
    const auto number = section.integer(key, 0, kMaxEntries);
    return number ? static_cast<std::uint64_t>(*number) : fallback;
  };
  result.maxPerCore = entries("maxPerCore", result.maxPerCore);
  result.min = entries("min", result.min);
  result.tcpEstablishedTimeout = readDuration(section, "tcpEstablishedTimeout");
  result.tcpCloseWaitTimeout = readDuration(section, "tcpCloseWaitTimeout");
  result.udpTimeout = readDuration(section, "udpTimeout");
  result.udpStreamTimeout = readDuration(section, "udpStreamTimeout");
  if (section.has("tcpBeLiberal")) result.tcpBeLiberal = section.boolean("tcpBeLiberal");
  return result;
}

}  // namespace

bool isNodePortWord(std::string_view word) {
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end();
}

std::set<IpAddress> NodePortAddresses::of(const std::set<IpAddress>& host,
                                          const std::vector<IpAddress>& internal) const {
  std::set<IpAddress> result;
  const auto chosen = [&](const IpAddress& address) {
    return all || std::any_of(networks.begin(), networks.end(),
                              [&](const IpPrefix& network) { return network.contains(address); });
  };
  for (const IpAddress& address : host) {
    if (!address.isLoopback() && chosen(address)) result.insert(address);
  }
  if (primary) result.insert(internal.begin(), internal.end());
  return result;
}

Settings readSettings(const cni::ConfigReader& section) {
  Settings settings;
  settings.clusterCidrs = prefixesIn(section, "clusterCIDRs", section.strings("clusterCIDRs"));
  settings.masqueradeAll = section.boolean("masqueradeAll");
  settings.nodePorts = readNodePorts(section);
  settings.healthz = readAddress(section.object("healthz"), "0.0.0.0:10256");
  settings.metrics = readAddress(section.object("metrics"), "127.0.0.1:10249");
  settings.syncPeriod = readDuration(section, "syncPeriod").value_or(settings.syncPeriod);
  settings.minSyncPeriod = readDuration(section, "minSyncPeriod").value_or(settings.minSyncPeriod);
  if (settings.syncPeriod.count() == 0) section.problem("syncPeriod", "must be more than 0");
  settings.conntrack = readConntrack(section.object("conntrack"));
  return settings;
}

}  // namespace culvert::services
