#include "daemons/services/random_cluster.h"

#include <algorithm>
#include <cstdlib>

namespace culvert::services::test {
namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

const Texts kProtocols{"TCP", "UDP", "SCTP"};
const Texts kPolicies{"Cluster", "Local"};
const Texts kExternalIps{"203.0.113.1", "203.0.113.2", "198.18.0.1", "10.96.0.1", "fd20::1"};
const Texts kIngressIps{"203.0.113.11", "203.0.113.1", "fd20::11"};
const Texts kRanges{"192.0.2.0/24",     "192.0.2.77/32", "10.1.0.0/16", " 198.18.0.0/24 ",
                    "198.18.0.1/32",    "0.0.0.0/0",     "fd01::/64",   "2001:db8::/32",
                    "2001:db8::77/128", "203.0.113.0/25"};
const Texts kZones{"a", "b"}, kNodes{"n1", "n2"};

/// Of pods on this node and another, and of this host itself.
const std::vector<std::pair<std::string, std::string>> kEndpoints[] = {
    {{"10.1.0.2", "n1"},
     {"10.1.0.3", "n1"},
     {"10.1.0.4", "n1"},
     {"198.18.0.1", "n1"},
     {"10.2.0.2", "n2"},
     {"10.2.0.3", "n2"},
     {"10.2.0.4", "n2"},
     {"10.2.0.5", ""}},
    {{"fd01::2", "n1"}, {"fd01::3", "n1"}, {"fd18::1", "n1"}, {"fd02::2", "n2"}, {"fd02::3", ""}}};

/// A pod (and endpoint), another, one on another node (and endpoint), this host by its two
/// addresses, and strangers.
const Texts kSources[] = {
    {"10.1.0.2", "10.1.0.9", "10.2.0.2", "198.18.0.1", "198.18.0.2", "192.0.2.77", "192.0.2.78"},
    {"fd01::2", "fd01::9", "fd02::2", "fd18::1", "2001:db8::77"}};
/// Addresses that nobody has a frontend at, unless the cluster says so.
const Texts kNeighbours[] = {{"198.18.0.1", "198.18.0.2", "10.96.0.99", "203.0.113.99"},
                             {"fd18::1", "fd96::99"}};

std::size_t indexOf(Family family) {
  return family == Family::kV4 ? 0 : 1;
}

json metadata(const std::string& name, const json& labels) {
  return {{"name", name}, {"namespace", "ns"}, {"labels", labels}};
}

/// Calls visit(child removed) for all that can be taken out of `value`, outer things first; stops
/// at the first that returns true.
bool eachRemoval(json& value, const std::function<bool()>& visit) {
  if (!value.is_structured()) return false;
  const json whole = value;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (value.is_array())
      value.erase(i);
    else
      value.erase(std::next(whole.begin(), static_cast<std::ptrdiff_t>(i)).key());
    if (visit()) return true;
    value = whole;
  }
  for (json& child : value) {
    if (eachRemoval(child, visit)) return true;
  }
  return false;
}

std::string describe(const Packet& packet) {
  return packet.from.text() + " to " + packet.to.text() + " " + std::to_string(packet.port) + " " +
         std::string(objects::textOf(packet.protocol));
}

bool isParsable(const Cluster& cluster) {
  const auto named = [](const json& object) {
    return object.contains("kind") && object.contains("metadata") &&
           object["metadata"].contains("name") && object["metadata"].contains("namespace");
  };
  return std::all_of(cluster.objects.begin(), cluster.objects.end(), named) &&
         Parsed::parse(cluster).has_value();
}

bool isSmaller(Cluster& cluster, const Check& check) {
  const auto stillFails = [&] { return isParsable(cluster) && !check(cluster).empty(); };
  for (std::size_t i = 0; i < cluster.objects.size(); ++i) {
    const json object = cluster.objects[i];
    const auto at = cluster.objects.begin() + static_cast<std::ptrdiff_t>(i);
    cluster.objects.erase(at);
    if (stillFails()) return true;
    cluster.objects.insert(cluster.objects.begin() + static_cast<std::ptrdiff_t>(i), object);
  }
  for (json& object : cluster.objects) {
    if (eachRemoval(object, stillFails)) return true;
  }
  return eachRemoval(cluster.node, stillFails);
}

}  // namespace

Texts World::some(const Texts& of, std::size_t most) {
  Texts all;
  for (const std::string& one : of) {
    if (all.size() < most && oneIn(3)) all.push_back(one);
  }
  return all;
}

json World::ports() {
  json all = json::array();
  for (const std::string& protocol : kProtocols) {
    if (!all.empty() && oneIn(2)) continue;
    json port{{"name", protocol}, {"protocol", protocol}, {"port", oneIn(2) ? 80 : 81}};
    if (!oneIn(3)) port["nodePort"] = 30000 + below(3);
    all.push_back(port);
  }
  return all;
}

json World::ingress() {
  json all = json::array();
  for (const std::string& ip : some(kIngressIps, 2)) {
    json one{{"ip", ip}};
    if (oneIn(4)) one["ipMode"] = oneIn(2) ? "Proxy" : "VIP";
    all.push_back(one);
  }
  if (oneIn(6)) all.push_back({{"hostname", "lb.example"}});
  return all;
}

json World::service(std::size_t number) {
  const std::string id = std::to_string(number);
  const Texts ips[] = {{"10.96.0." + id}, {"fd96::" + id}, {"10.96.0." + id, "fd96::" + id}};
  json spec{{"clusterIPs", ips[below(3)]},
            {"ports", ports()},
            {"externalIPs", some(kExternalIps, 2)},
            {"externalTrafficPolicy", pick(kPolicies)},
            {"internalTrafficPolicy", pick(kPolicies)},
            {"loadBalancerSourceRanges", oneIn(2) ? some(kRanges, 3) : Texts()}};
  if (oneIn(12)) spec["clusterIPs"] = Texts{"None"};
  if (oneIn(12)) spec["type"] = "ExternalName";
  if (oneIn(4)) spec["sessionAffinity"] = "ClientIP";
  if (oneIn(8)) spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] = 30;
  json labels = json::object();
  if (oneIn(12)) labels["service.kubernetes.io/service-proxy-name"] = "other";
  return {{"kind", "Service"},
          {"metadata", metadata("s" + id, labels)},
          {"spec", spec},
          {"status", {{"loadBalancer", {{"ingress", ingress()}}}}}};
}

json World::endpoint(bool v6) {
  const auto& [address, node] = pick(kEndpoints[v6 ? 1 : 0]);
  json one{{"addresses", Texts{address}}};
  if (!node.empty()) one["nodeName"] = node;
  switch (below(7)) {
    case 0:
      one["conditions"] = {{"ready", false}, {"serving", true}, {"terminating", true}};
      break;
    case 1:
      one["conditions"] = {{"ready", false}, {"serving", false}, {"terminating", oneIn(2)}};
      break;
    case 2:
      one["conditions"] = {{"ready", true}};
      break;
    default:
      break;
  }
  if (!oneIn(4)) one["hints"]["forZones"] = json::array({{{"name", pick(kZones)}}});
  if (oneIn(2)) one["hints"]["forNodes"] = json::array({{{"name", pick(kNodes)}}});
  return one;
}

json World::slice(std::size_t number) {
  const bool v6 = oneIn(3);
  json endpoints = json::array(), ports = json::array();
  const std::size_t count = below(6);
  const bool hinted = oneIn(3);
  while (endpoints.size() < count) {
    endpoints.push_back(endpoint(v6));
    if (!hinted) endpoints.back().erase("hints");
  }
  for (const std::string& protocol : kProtocols) {
    if (!oneIn(5))
      ports.push_back(
          {{"name", protocol}, {"protocol", protocol}, {"port", oneIn(4) ? 9090 : 8080}});
  }
  const json labels{{"kubernetes.io/service-name", "s" + std::to_string(1 + below(4))}};
  return {{"kind", "EndpointSlice"},
          {"metadata", metadata("e" + std::to_string(number), oneIn(12) ? json::object() : labels)},
          {"addressType", v6 ? "IPv6" : "IPv4"},
          {"ports", ports},
          {"endpoints", endpoints}};
}

json World::node() {
  json node{{"zone", pick(Texts{"a", "b", ""})},
            {"addresses", Texts{"198.18.0.1", "198.18.0.2", "fd18::1"}},
            {"nodePorts", Texts{"198.18.0.1", "fd18::1"}},
            {"masqueradeAll", oneIn(4)}};
  const std::vector<Texts> networks{{"10.1.0.0/16", "fd01::/64"},
                                    {"10.0.0.0/8", "fd00::/12"},
                                    {"10.1.0.0/17"},
                                    {"fd01::/64"},
                                    {}};
  node["pods"] = oneIn(2) ? networks.front() : pick(networks);
  if (oneIn(4)) node["nodePorts"].push_back("198.18.0.2");
  return node;
}

Cluster World::cluster() {
  Cluster all;
  all.node = node();
  const std::size_t services = 1 + below(4), slices = below(2 * services + 2);
  for (std::size_t i = 1; i <= services; ++i)
    all.objects.push_back(service(i));
  for (std::size_t i = 0; i < slices; ++i)
    all.objects.push_back(slice(i));
  return all;
}

std::vector<std::uint64_t> seeds(std::uint64_t count) {
  if (const char* given = std::getenv("CULVERT_SEED")) return {std::stoull(given)};
  std::vector<std::uint64_t> all(count);
  for (std::uint64_t i = 0; i < count; ++i)
    all[i] = i;
  return all;
}

Cluster shrink(Cluster cluster, const Check& check) {
  while (isSmaller(cluster, check)) {
  }
  return cluster;
}

std::vector<Packet> packetsFor(const Lab& lab) {
  std::set<std::tuple<IpAddress, Protocol, std::uint16_t>> targets;
  const auto aim = [&](const IpAddress& address, const At& at) {
    targets.insert({address, at.protocol, at.port});
    targets.insert(
        {address, at.protocol == Protocol::kTcp ? Protocol::kUdp : Protocol::kTcp, at.port});
    targets.insert({address, at.protocol, static_cast<std::uint16_t>(at.port + 1)});
  };
  for (const At& at : lab.model().everything().frontends) {
    if (!at.address.isUnspecified()) aim(at.address, at);
    for (const std::string& text : kNeighbours[indexOf(at.address.family())])
      aim(IpAddress::parse(text).value(), at);
  }
  std::vector<Packet> packets;
  for (const auto& [address, protocol, port] : targets) {
    for (const std::string& source : kSources[indexOf(address.family())])
      packets.push_back(lab.packetFrom(IpAddress::parse(source).value(), address, protocol, port));
  }
  return packets;
}

std::string difference(const Lab& lab) {
  for (const Packet& packet : packetsFor(lab)) {
    const auto wanted = lab.wanted(packet), happens = lab.traced(packet).fates;
    if (wanted != happens)
      return describe(packet) + ": wanted " + textOf(wanted) + ", but " + textOf(happens);
  }
  return {};
}

}  // namespace culvert::services::test
