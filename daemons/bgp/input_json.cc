#include "daemons/bgp/input_json.h"

#include <nlohmann/json.hpp>

#include "cni/config_reader.h"

namespace culvert::bgp {
namespace {

using cni::ConfigReader;

std::vector<IpPrefix> prefixes(const ConfigReader& reader, std::string_view key) {
  std::vector<IpPrefix> list;
  for (const std::string& each : reader.strings(key)) {
    const auto prefix = IpPrefix::parse(each);
    if (prefix) list.push_back(*prefix);
    if (!prefix) reader.problem(key, "\"" + each + "\" is not in CIDR notation");
  }
  return list;
}

Node node(const ConfigReader& reader) {
  Node result{.name = reader.string("name"), .labels = reader.stringMap("labels")};
  result.ipv4 = reader.prefix("ipv4");
  result.ipv6 = reader.prefix("ipv6");
  if (result.ipv4 && result.ipv4->family() != Family::kV4) reader.problem("ipv4", "is not IPv4");
  if (result.ipv6 && result.ipv6->family() != Family::kV6) reader.problem("ipv6", "is not IPv6");
  result.asNumber = objects::readAsNumber(reader, "asNumber").value_or(0);
  result.reflectorClusterId = reader.address("routeReflectorClusterID");
  if (result.reflectorClusterId && result.reflectorClusterId->family() != Family::kV4)
    reader.problem("routeReflectorClusterID", "is not of IPv4's form");
  result.podBlocks = prefixes(reader, "podBlocks");
  result.ready = reader.boolean("ready", true);
  result.settled = reader.boolean("settled", true);
  return result;
}

template <class T>
void readObjects(const ConfigReader& reader, const char* key, const std::string& kind,
                 std::vector<T>& into, std::vector<Problem>& problems) {
  const nlohmann::json& list = reader.raw(key);
  if (!list.is_array()) return;
  for (const nlohmann::json& each : list) {
    auto parsed = T::parse(each);
    if (parsed) {
      into.push_back(std::move(*parsed));
    } else {
      cni::Problems ignored;
      const std::string name = ConfigReader(each, "", ignored).object("metadata").string("name");
      problems.push_back({std::string(kind).append(" ").append(name), parsed.error().message});
    }
  }
}

}  // namespace

Result<BgpInput> parseInput(const nlohmann::json& value, std::vector<Problem>& problems) {
  cni::Problems wrong;
  const ConfigReader reader(value, "", wrong);
  BgpInput input;
  input.thisNode = reader.string("thisNode");
  for (const ConfigReader& each : reader.objects("nodes"))
    input.nodes.push_back(node(each));
  readObjects(reader, "configurations", "BGPConfiguration", input.configurations, problems);
  readObjects(reader, "peers", "BGPPeer", input.peers, problems);
  readObjects(reader, "filters", "BGPFilter", input.filters, problems);
  input.services = prefixes(reader, "services");
  input.clusterPrefixes = prefixes(reader, "clusterPrefixes");
  input.podInterfaces = reader.strings("podInterfaces");
  input.passwords = reader.stringMap("passwords");
  if (reader.has("topology")) {
    const ConfigReader topology = reader.object("topology");
    input.topology = Topology{topology.boolean("mesh"), topology.boolean("reflectors")};
  }
  input.settled = reader.boolean("settled");
  TRY(wrong.take());
  return input;
}

}  // namespace culvert::bgp
