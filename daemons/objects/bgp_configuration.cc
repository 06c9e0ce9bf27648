#include "daemons/objects/bgp_configuration.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

using cni::ConfigReader;
using Named = std::map<std::string, BgpCommunity>;

constexpr std::int64_t kMaxPriority = 2147483646;

std::vector<IpPrefix> networks(const ConfigReader& reader, std::string_view key) {
  std::vector<IpPrefix> list;
  for (const ConfigReader& item : reader.objects(key)) {
    const auto prefix = readNetwork(item, "cidr");
    if (!item.has("cidr")) item.problem("cidr", "is required");
    if (prefix) list.push_back(*prefix);
  }
  return list;
}

Named namedCommunities(const ConfigReader& spec) {
  Named named;
  for (const ConfigReader& item : spec.objects("communities")) {
    const auto value = BgpCommunity::parse(item.string("value"));
    if (item.string("name").empty()) item.problem("name", "is required");
    if (!value) item.problem("value", "is not a community (aa:nn or aa:nn:mm)");
    if (value) named[item.string("name")] = *value;
  }
  return named;
}

BgpConfiguration::Advertisement advertisement(const ConfigReader& item, const Named& named) {
  BgpConfiguration::Advertisement result;
  if (!item.has("cidr")) item.problem("cidr", "is required");
  result.cidr = readNetwork(item, "cidr").value_or(IpPrefix());
  for (const std::string& each : item.strings("communities")) {
    const auto found = named.find(each);
    const auto value = found == named.end() ? BgpCommunity::parse(each) : found->second;
    if (value) result.communities.push_back(*value);
    if (!value)
      item.problem("communities", "\"" + each + "\" is neither a community nor the name of one");
  }
  return result;
}

std::optional<bool> optionalBoolean(const ConfigReader& reader, std::string_view key) {
  if (!reader.has(key)) return std::nullopt;
  return reader.boolean(key);
}

template <class T>
std::optional<T> number(const ConfigReader& reader, std::string_view key, std::int64_t min,
                        std::int64_t max) {
  const auto value = reader.integer(key, min, max);
  if (!value) return std::nullopt;
  return static_cast<T>(*value);
}

/// Whether the key's value is the second of the two; nullopt if it is absent.
std::optional<bool> isSecond(const ConfigReader& reader, std::string_view key,
                             std::string_view first, std::string_view second) {
  if (!reader.has(key)) return std::nullopt;
  return readChoice(reader, key, {first, second}, 0) == 1;
}

std::vector<std::string> interfacePatterns(const ConfigReader& spec) {
  const auto isPattern = [](const std::string& text) {
    return !text.empty() && text.size() <= 15 && std::all_of(text.begin(), text.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
             std::string_view("*?._-@+").find(c) != std::string_view::npos;
    });
  };
  std::vector<std::string> list = spec.strings("ignoredInterfaces");
  for (const std::string& each : list) {
    if (!isPattern(each))
      spec.problem("ignoredInterfaces",
                   "\"" + each + "\" is no name of an interface, with * and ?");
  }
  return list;
}

std::vector<IpPrefix> nodeRanges(const ConfigReader& spec) {
  std::vector<IpPrefix> list;
  for (const std::string& each : spec.strings("nodeRanges")) {
    const auto prefix = IpPrefix::parse(each);
    if (prefix && prefix->network() == *prefix) {
      list.push_back(*prefix);
    } else {
      spec.problem("nodeRanges", "\"" + each + "\" is not a network in CIDR notation");
    }
  }
  return list;
}

void readServices(const ConfigReader& spec, BgpConfiguration& result) {
  result.serviceClusterIps = networks(spec, "serviceClusterIPs");
  result.serviceExternalIps = networks(spec, "serviceExternalIPs");
  result.serviceLoadBalancerIps = networks(spec, "serviceLoadBalancerIPs");
  result.serviceLoadBalancerAggregation =
      isSecond(spec, "serviceLoadBalancerAggregation", "Disabled", "Enabled");
  const Named named = namedCommunities(spec);
  for (const ConfigReader& item : spec.objects("prefixAdvertisements"))
    result.prefixAdvertisements.push_back(advertisement(item, named));
}

void readMesh(const ConfigReader& spec, BgpConfiguration& result) {
  result.nodeToNodeMeshEnabled = optionalBoolean(spec, "nodeToNodeMeshEnabled");
  result.nodeMeshPassword = readSecretKeyRef(spec, "nodeMeshPassword");
  result.nodeMeshMaxRestartTime = readSeconds(spec, "nodeMeshMaxRestartTime", 1, 4095);
  result.meshMaxNodes = number<std::uint32_t>(spec, "meshMaxNodes", 1, 5000);
  result.reflectorsPerZone = number<std::uint32_t>(spec, "reflectorsPerZone", 2, 3);
  result.reflectorPort = number<std::uint16_t>(spec, "reflectorPort", 1, 65535);
  result.nodeRanges = nodeRanges(spec);
  if (spec.has("bfd")) result.bfd = readBfd(spec);
  result.gracefulRestart = readGracefulRestart(spec);
}

void checkAddress(const ConfigReader& spec, std::string_view key, Family family) {
  const auto address = spec.address(key);
  if (address && address->family() != family) spec.problem(key, "is of the other family");
}

/// Checked, so that a typing error is found, but of no effect: see docs/bgp.md.
void checkIgnored(const ConfigReader& spec) {
  checkAddress(spec, "localWorkloadPeeringIPV4", Family::kV4);
  checkAddress(spec, "localWorkloadPeeringIPV6", Family::kV6);
  readChoice(spec, "programClusterRoutes",
             {"Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"}, 0);
}

template <class T>
void inherit(std::optional<T>& own, const std::optional<T>& base) {
  if (!own) own = base;
}

template <class T>
void inherit(std::vector<T>& own, const std::vector<T>& base) {
  if (own.empty()) own = base;
}

}  // namespace

Result<BgpConfiguration> BgpConfiguration::parse(const nlohmann::json& object) {
  cni::Problems problems;
  const ConfigReader reader(object, "", problems);
  const ConfigReader spec = reader.object("spec");
  BgpConfiguration result;
  result.name = readName(reader);
  const std::size_t level = readChoice(spec, "logSeverityScreen",
                                       {"Debug", "Info", "Warning", "Error", "Fatal", "None"}, 1);
  if (spec.has("logSeverityScreen") && level < 6)
    result.logSeverityScreen = spec.string("logSeverityScreen");
  result.asNumber = readAsNumber(spec, "asNumber");
  result.listenPort = number<std::uint16_t>(spec, "listenPort", 1, 65535);
  result.bindNodeIp = isSecond(spec, "bindMode", "None", "NodeIP");
  result.ignoredInterfaces = interfacePatterns(spec);
  result.ipv4NormalRoutePriority =
      number<std::uint32_t>(spec, "ipv4NormalRoutePriority", 1, kMaxPriority);
  result.ipv6NormalRoutePriority =
      number<std::uint32_t>(spec, "ipv6NormalRoutePriority", 1, kMaxPriority);
  readServices(spec, result);
  readMesh(spec, result);
  checkIgnored(spec);
  TRY(problems.take());
  return result;
}

BgpConfiguration BgpConfiguration::over(const BgpConfiguration& base) const {
  BgpConfiguration result = *this;
  inherit(result.nodeToNodeMeshEnabled, base.nodeToNodeMeshEnabled);
  inherit(result.asNumber, base.asNumber);
  inherit(result.listenPort, base.listenPort);
  inherit(result.bindNodeIp, base.bindNodeIp);
  inherit(result.serviceClusterIps, base.serviceClusterIps);
  inherit(result.serviceExternalIps, base.serviceExternalIps);
  inherit(result.serviceLoadBalancerIps, base.serviceLoadBalancerIps);
  inherit(result.serviceLoadBalancerAggregation, base.serviceLoadBalancerAggregation);
  inherit(result.prefixAdvertisements, base.prefixAdvertisements);
  inherit(result.ignoredInterfaces, base.ignoredInterfaces);
  inherit(result.nodeMeshPassword, base.nodeMeshPassword);
  inherit(result.nodeMeshMaxRestartTime, base.nodeMeshMaxRestartTime);
  inherit(result.ipv4NormalRoutePriority, base.ipv4NormalRoutePriority);
  inherit(result.ipv6NormalRoutePriority, base.ipv6NormalRoutePriority);
  if (result.logSeverityScreen.empty()) result.logSeverityScreen = base.logSeverityScreen;
  inherit(result.meshMaxNodes, base.meshMaxNodes);
  inherit(result.reflectorsPerZone, base.reflectorsPerZone);
  inherit(result.reflectorPort, base.reflectorPort);
  inherit(result.nodeRanges, base.nodeRanges);
  inherit(result.bfd, base.bfd);
  inherit(result.gracefulRestart, base.gracefulRestart);
  return result;
}

}  // namespace culvert::objects
