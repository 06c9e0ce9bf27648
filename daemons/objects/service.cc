#include "daemons/objects/service.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <set>

#include "cni/config_reader.h"
#include "daemons/objects/metadata.h"

namespace culvert::objects {
namespace {

using cni::ConfigReader;

constexpr std::int64_t kPortMax = 65535;
constexpr std::int64_t kAffinityDefault = 10800, kAffinityMax = 86400;  // seconds; core/v1

/// What the API server refuses as an external IP or an endpoint (ValidateNonSpecialIP):
/// unspecified, loopback, link-local.
bool isSpecial(const IpAddress& address) {
  static const auto kNetworks = [] {
    std::vector<IpPrefix> networks;
    for (const char* text : {"0.0.0.0/32", "::/128", "127.0.0.0/8", "::1/128", "169.254.0.0/16",
                             "fe80::/10", "224.0.0.0/24", "ff02::/16"})
      networks.push_back(*IpPrefix::parse(text));
    return networks;
  }();
  return std::any_of(kNetworks.begin(), kNetworks.end(),
                     [&](const IpPrefix& network) { return network.contains(address); });
}

std::vector<IpAddress> addresses(const ConfigReader& reader, std::string_view key) {
  std::vector<IpAddress> result;
  for (const std::string& text : reader.strings(key)) {
    if (text.empty() || text == "None") continue;  // headless, or not assigned yet
    const auto address = IpAddress::parse(text);
    if (!address || isSpecial(*address))
      reader.problems().add(reader.pathOf(key),
                            "\"" + text + "\" is not an IP address that others can reach");
    else
      result.push_back(*address);
  }
  return result;
}

bool isLocal(const ConfigReader& spec, std::string_view key) {
  const std::string policy = spec.string(key, "Cluster");
  if (policy != "Cluster" && policy != "Local") spec.problem(key, "is none of Cluster, Local");
  return policy == "Local";
}

Protocol protocolOf(const ConfigReader& port) {
  const std::string text = port.string("protocol", "TCP");
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    if (textOf(protocol) == text) return protocol;
  }
  port.problem("protocol", "is none of TCP, UDP, SCTP");
  return Protocol::kTcp;
}

std::uint16_t number(const ConfigReader& reader, std::string_view key, std::int64_t min) {
  return static_cast<std::uint16_t>(reader.integer(key, min, kPortMax).value_or(0));
}

Service::Port portOf(const ConfigReader& reader) {
  Service::Port port{reader.string("name"), protocolOf(reader), number(reader, "port", 1),
                     number(reader, "nodePort", 0)};
  if (!reader.has("port")) reader.problem("port", "is missing");
  return port;
}

std::vector<Service::Port> portsOf(const ConfigReader& spec) {
  std::vector<Service::Port> ports;
  std::set<std::string> names;
  std::set<std::pair<Protocol, std::uint16_t>> numbers;
  for (const ConfigReader& reader : spec.objects("ports")) {
    Service::Port port = portOf(reader);
    if (!names.insert(port.name).second) reader.problem("name", "is that of another port");
    if (port.port != 0 && !numbers.insert({port.protocol, port.port}).second)
      reader.problem("port", "is that of another port with this protocol");
    ports.push_back(std::move(port));
  }
  return ports;
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<IpPrefix> rangesOf(const ConfigReader& spec) {
  std::vector<IpPrefix> ranges;
  for (const std::string& text : spec.strings("loadBalancerSourceRanges")) {
    if (const auto range = IpPrefix::parse(trimmed(text)))
      ranges.push_back(range->network());
    else
      spec.problems().add(spec.pathOf("loadBalancerSourceRanges"), "\"" + text + "\" is no CIDR");
  }
  return ranges;
}

std::vector<Ingress> loadBalancerOf(const ConfigReader& status) {
  std::vector<Ingress> all;
  for (const ConfigReader& ingress : status.object("loadBalancer").objects("ingress")) {
    const std::string mode = ingress.string("ipMode", "VIP");
    if (mode != "VIP" && mode != "Proxy") ingress.problem("ipMode", "is none of VIP, Proxy");
    if (ingress.string("ip").empty()) continue;  // it has a hostname
    const auto address = ingress.address("ip");
    if (!address) continue;
    if (address->isUnspecified()) ingress.problem("ip", "is no address");
    all.push_back({*address, mode == "Proxy"});
  }
  return all;
}

std::chrono::seconds affinityOf(const ConfigReader& spec) {
  const std::string kind = spec.string("sessionAffinity", "None");
  if (kind != "None" && kind != "ClientIP")
    spec.problem("sessionAffinity", "is none of None, ClientIP");
  const auto seconds = spec.object("sessionAffinityConfig")
                           .object("clientIP")
                           .integer("timeoutSeconds", 1, kAffinityMax);
  return std::chrono::seconds(kind == "ClientIP" ? seconds.value_or(kAffinityDefault) : 0);
}

std::vector<IpAddress> clusterIpsOf(const ConfigReader& spec) {
  if (spec.string("type") == "ExternalName") return {};
  auto all = addresses(spec, "clusterIPs");
  const std::string only = spec.string("clusterIP");
  if (!all.empty() || only.empty() || only == "None") return all;
  if (const auto address = spec.address("clusterIP")) all.push_back(*address);
  return all;
}

void checkType(const ConfigReader& spec) {
  static const std::set<std::string> kTypes{"ClusterIP", "NodePort", "LoadBalancer",
                                            "ExternalName"};
  if (kTypes.count(spec.string("type", "ClusterIP")) == 0)
    spec.problem("type", "is none of ClusterIP, NodePort, LoadBalancer, ExternalName");
}

std::vector<std::string> names(const ConfigReader& hints, std::string_view key) {
  std::vector<std::string> all;
  for (const ConfigReader& hint : hints.objects(key))
    all.push_back(hint.string("name"));
  return all;
}

/// RFC 3339 in UTC, as the endpoint controllers write it; the epoch if it is something else.
std::chrono::system_clock::time_point triggerTime(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return {};
  char* end = nullptr;
  const double fraction = *rest == '.' ? std::strtod(rest, &end) : 0;
  if (std::string(end != nullptr ? end : rest) != "Z") return {};
  using Clock = std::chrono::system_clock;
  return Clock::from_time_t(::timegm(&parts)) +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(fraction));
}

EndpointSlice::Endpoint endpointOf(const ConfigReader& reader, bool named) {
  EndpointSlice::Endpoint endpoint;
  const auto texts = reader.strings("addresses");
  if (!named && !texts.empty()) {
    endpoint.address = IpAddress::parse(texts.front());
    if (!endpoint.address || isSpecial(*endpoint.address))
      reader.problem("addresses", "does not begin with an IP address that others can reach");
  }
  endpoint.node = reader.string("nodeName");
  const ConfigReader conditions = reader.object("conditions");
  endpoint.ready = conditions.boolean("ready", true);
  endpoint.serving = conditions.boolean("serving", true);
  endpoint.terminating = conditions.boolean("terminating", false);
  endpoint.zones = names(reader.object("hints"), "forZones");
  endpoint.nodes = names(reader.object("hints"), "forNodes");
  return endpoint;
}

std::vector<EndpointSlice::Port> slicePorts(const ConfigReader& slice) {
  std::vector<EndpointSlice::Port> ports;
  for (const ConfigReader& port : slice.objects("ports")) {
    const std::uint16_t at = number(port, "port", 0);
    if (at != 0) ports.push_back({port.string("name"), protocolOf(port), at});
  }
  return ports;
}

}  // namespace

std::string_view textOf(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "TCP";
    case Protocol::kUdp:
      return "UDP";
    case Protocol::kSctp:
      return "SCTP";
  }
  return "?";
}

Result<Service> Service::parse(const nlohmann::json& object) {
  const Metadata meta = TRY(Metadata::parse(object));
  Service service;
  service.ns = meta.ns;
  service.name = meta.name;
  service.foreign = meta.labels.count("service.kubernetes.io/service-proxy-name") > 0 ||
                    meta.labels.count("service.kubernetes.io/headless") > 0;
  cni::Problems problems;
  const ConfigReader reader(object, "", problems, ConfigReader::Keys::kExact);
  const ConfigReader spec = reader.object("spec");
  checkType(spec);
  service.clusterIps = clusterIpsOf(spec);
  service.ports = portsOf(spec);
  service.externalIps = addresses(spec, "externalIPs");
  service.loadBalancer = loadBalancerOf(reader.object("status"));
  service.sourceRanges = rangesOf(spec);
  service.externalLocal = isLocal(spec, "externalTrafficPolicy");
  service.internalLocal = isLocal(spec, "internalTrafficPolicy");
  service.affinity = affinityOf(spec);
  service.healthCheckNodePort = number(spec, "healthCheckNodePort", 0);
  TRY(problems.take());
  return service;
}

Result<EndpointSlice> EndpointSlice::parse(const nlohmann::json& object) {
  const Metadata meta = TRY(Metadata::parse(object));
  EndpointSlice slice;
  slice.ns = meta.ns;
  const auto label = meta.labels.find("kubernetes.io/service-name");
  if (label != meta.labels.end()) slice.service = label->second;
  slice.trigger.at =
      triggerTime(meta.annotation("endpoints.kubernetes.io/last-change-trigger-time"));
  cni::Problems problems;
  const ConfigReader reader(object, "", problems, ConfigReader::Keys::kExact);
  const std::string type = reader.string("addressType", "IPv4");
  if (type != "IPv4" && type != "IPv6" && type != "FQDN")
    reader.problem("addressType", "is none of IPv4, IPv6, FQDN");
  slice.ports = slicePorts(reader);
  const auto endpoints = reader.objects("endpoints");
  slice.endpoints.reserve(endpoints.size());
  for (const ConfigReader& endpoint : endpoints)
    slice.endpoints.push_back(endpointOf(endpoint, type == "FQDN"));
  TRY(problems.take());
  return slice;
}

}  // namespace culvert::objects
