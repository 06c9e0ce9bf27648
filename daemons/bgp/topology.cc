#include "daemons/bgp/topology.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/digest.h"

namespace culvert::bgp {
namespace {

/// The names with the highest hash together with `salt`, sorted by name.
std::vector<std::string> rendezvous(const std::vector<std::string>& names, const std::string& salt,
                                    std::size_t count) {
  std::vector<std::pair<std::string, std::string>> ranked;
  for (const std::string& name : names)
    ranked.emplace_back(sha512Hex(salt + '\n' + name, 16), name);
  std::sort(ranked.rbegin(), ranked.rend());
  ranked.resize(std::min(count, ranked.size()));
  std::vector<std::string> chosen;
  for (auto& [hash, name] : ranked)
    chosen.push_back(std::move(name));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<std::string> labelledReflectors(const std::vector<Node>& nodes) {
  std::vector<std::string> names;
  for (const Node& node : nodes) {
    if (node.reflectorClusterId) names.push_back(node.name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool contains(const std::vector<std::string>& sorted, const std::string& name) {
  return std::binary_search(sorted.begin(), sorted.end(), name);
}

}  // namespace

std::string Node::zone() const {
  const auto found = labels.find("topology.kubernetes.io/zone");
  return found == labels.end() ? "" : found->second;
}

Topology wantedTopology(std::size_t nodes, std::uint32_t maxNodes,
                        const std::optional<Topology>& current) {
  const bool reflecting = current && current->reflectors;
  const std::size_t limit = reflecting ? maxNodes - maxNodes / 10 : maxNodes;
  return nodes > limit ? Topology{.reflectors = true} : Topology{.mesh = true};
}

Topology nextTopology(const std::optional<Topology>& current, const Topology& wanted,
                      bool settled) {
  if (!current || settled) return wanted;
  return {.mesh = current->mesh || wanted.mesh,
          .reflectors = current->reflectors || wanted.reflectors};
}

std::vector<std::string> chooseReflectors(const std::vector<Node>& nodes, std::size_t perZone) {
  std::vector<std::string> chosen = labelledReflectors(nodes);
  if (!chosen.empty()) return chosen;
  std::map<std::string, std::vector<std::string>> zones;
  std::map<std::string, std::size_t> sizes;
  for (const Node& node : nodes) {
    ++sizes[node.zone()];
    if (node.ready) zones[node.zone()].push_back(node.name);
  }
  for (const auto& [zone, names] : zones) {
    const std::size_t load =
        (sizes[zone] * perZone + kClientsPerReflector - 1) / kClientsPerReflector;
    const auto elected = rendezvous(names, zone, std::max(perZone, load));
    chosen.insert(chosen.end(), elected.begin(), elected.end());
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<std::string> reflectorsOf(const Node& client, const std::vector<Node>& nodes,
                                      const std::vector<std::string>& reflectors,
                                      std::size_t perZone) {
  std::vector<std::string> near;
  bool labelled = false;
  for (const Node& node : nodes) {
    if (!contains(reflectors, node.name) || node.name == client.name) continue;
    labelled = labelled || node.reflectorClusterId.has_value();
    if (node.zone() == client.zone()) near.push_back(node.name);
  }
  if (near.empty()) near = reflectors;
  return rendezvous(near, client.name, labelled ? near.size() : perZone);
}

}  // namespace culvert::bgp
