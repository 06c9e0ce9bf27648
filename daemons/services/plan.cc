#include "daemons/services/plan.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace culvert::services {
namespace {

using objects::EndpointSlice;
using objects::Service;
using Endpoint = EndpointSlice::Endpoint;

/// An endpoint of the port, with what decides whether it is used.
struct Candidate {
  Backend backend;
  const Endpoint* endpoint;
};
using Candidates = std::vector<Candidate>;

bool isUsableFallback(const Endpoint& endpoint) {
  return endpoint.serving && endpoint.terminating;
}

/// Of two pods that had one address, the one that lives.
auto rank(const Endpoint& endpoint) {
  return std::tuple(!endpoint.terminating, endpoint.ready, endpoint.serving);
}

bool matches(const EndpointSlice::Port& port, const Service::Port& wanted) {
  return port.name == wanted.name && port.protocol == wanted.protocol;
}

using Found = std::map<std::pair<IpAddress, std::uint16_t>, const Endpoint*>;

void collect(const EndpointSlice& slice, std::uint16_t port, Family family, Found& found) {
  for (const Endpoint& endpoint : slice.endpoints) {
    if (!endpoint.address || endpoint.address->family() != family) continue;
    const Endpoint*& known = found[{*endpoint.address, port}];
    if (known == nullptr || rank(*known) < rank(endpoint)) known = &endpoint;
  }
}

Candidates candidatesOf(const Service::Port& wanted, Family family, const Slices& slices,
                        const Node& node) {
  Found found;
  for (const EndpointSlice* slice : slices) {
    for (const EndpointSlice::Port& port : slice->ports) {
      if (matches(port, wanted)) collect(*slice, port.port, family, found);
    }
  }
  Candidates all;
  for (const auto& [at, endpoint] : found)
    all.push_back({{at.first, at.second, endpoint->node == node.name}, endpoint});
  return all;
}

template <class Wanted>
std::vector<Backend> backends(const Candidates& candidates, Wanted wanted) {
  std::vector<Backend> all;
  for (const Candidate& candidate : candidates) {
    if (wanted(candidate)) all.push_back(candidate.backend);
  }
  return all;
}

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

enum class Topology : std::uint8_t { kNone, kSameNode, kSameZone };

/// Hints count only if every ready endpoint has one, and one of them names us.
Topology topologyOf(const Candidates& candidates, const Node& node) {
  bool nodesHinted = true, zonesHinted = true, ourNode = false, ourZone = false;
  for (const Candidate& candidate : candidates) {
    const Endpoint& endpoint = *candidate.endpoint;
    if (!endpoint.ready) continue;
    nodesHinted = nodesHinted && !endpoint.nodes.empty();
    zonesHinted = zonesHinted && !endpoint.zones.empty();
    ourNode = ourNode || contains(endpoint.nodes, node.name);
    ourZone = ourZone || (!node.zone.empty() && contains(endpoint.zones, node.zone));
  }
  if (nodesHinted && ourNode) return Topology::kSameNode;
  return zonesHinted && ourZone ? Topology::kSameZone : Topology::kNone;
}

bool isHere(const Endpoint& endpoint, Topology topology, const Node& node) {
  if (topology == Topology::kNone) return true;
  return topology == Topology::kSameNode ? contains(endpoint.nodes, node.name)
                                         : contains(endpoint.zones, node.zone);
}

std::vector<Backend> clusterBackends(const Candidates& candidates, const Node& node) {
  const Topology topology = topologyOf(candidates, node);
  auto ready = backends(candidates, [&](const Candidate& c) {
    return c.endpoint->ready && isHere(*c.endpoint, topology, node);
  });
  if (!ready.empty()) return ready;
  return backends(candidates, [](const Candidate& c) { return isUsableFallback(*c.endpoint); });
}

std::vector<Backend> localBackends(const Candidates& candidates) {
  auto ready =
      backends(candidates, [](const Candidate& c) { return c.backend.local && c.endpoint->ready; });
  if (!ready.empty()) return ready;
  return backends(candidates, [](const Candidate& c) {
    return c.backend.local && isUsableFallback(*c.endpoint);
  });
}

std::vector<IpAddress> ofFamily(const std::vector<IpAddress>& addresses, Family family) {
  std::vector<IpAddress> result;
  std::copy_if(addresses.begin(), addresses.end(), std::back_inserter(result),
               [&](const IpAddress& address) { return address.family() == family; });
  return result;
}

std::vector<IpAddress> loadBalancerVips(const Service& service, Family family) {
  std::vector<IpAddress> result;
  for (const objects::Ingress& ingress : service.loadBalancer) {
    if (!ingress.proxied && ingress.address.family() == family) result.push_back(ingress.address);
  }
  return result;
}

/// One of length 0 opens it to all. If this node may send, then also by the addresses themselves,
/// which it has where the load balancer binds them.
std::vector<IpPrefix> sourcesOf(const Service& service, Family family,
                                const std::vector<IpAddress>& vips, const Node& node) {
  std::vector<IpPrefix> result;
  for (const IpPrefix& range : service.sourceRanges) {
    if (range.family() != family) continue;
    if (range.isDefault()) return {};
    result.push_back(range);
  }
  const bool nodeMaySend =
      std::any_of(node.addresses.begin(), node.addresses.end(), [&](const IpAddress& address) {
        return std::any_of(result.begin(), result.end(),
                           [&](const IpPrefix& range) { return range.contains(address); });
      });
  if (nodeMaySend) {
    for (const IpAddress& vip : vips)
      result.push_back(IpPrefix::host(vip));
  }
  return result;
}

/// Compiles one port in one family.
class PortCompiler {
 public:
  PortCompiler(const Service& service, const Service::Port& port, Family family, const Node& node,
               const Policy& policy)
      : service_(service),
        port_(port),
        node_(node),
        policy_(policy),
        external_(ofFamily(service.externalIps, family)),
        balanced_(loadBalancerVips(service, family)) {
    plan_.name = port.name;
    plan_.protocol = port.protocol;
    plan_.family = family;
    plan_.affinity = service.affinity;
  }

  PortPlan compile(const Slices& slices) {
    choose(candidatesOf(port_, plan_.family, slices, node_));
    const auto inside = clusterIpTreatments();
    for (const IpAddress& address : ofFamily(service_.clusterIps, plan_.family))
      add(Frontend::Kind::kClusterIp, address, port_.port, inside);
    if (isExternallyAccessible()) addExternal();
    plan_.sources = sourcesOf(service_, plan_.family, balanced_, node_);
    return std::move(plan_);
  }

 private:
  bool isExternallyAccessible() const {
    return port_.nodePort != 0 || !external_.empty() || !balanced_.empty();
  }

  void choose(const Candidates& candidates) {
    const bool usesLocal =
        service_.internalLocal || (service_.externalLocal && isExternallyAccessible());
    auto cluster = clusterBackends(candidates, node_);
    anywhere_ = !cluster.empty();
    if (plan_.protocol == Protocol::kUdp)
      plan_.serving = backends(candidates, [](const Candidate& c) { return c.endpoint->serving; });
    if (usesLocal) plan_.local = localBackends(candidates);
    if (!service_.internalLocal || isExternallyAccessible()) plan_.cluster = std::move(cluster);
  }

  Target clusterTarget() const {
    return plan_.cluster.empty() ? Target::kReject : Target::kCluster;
  }
  Target localTarget() const {
    if (!plan_.local.empty()) return Target::kLocal;
    return anywhere_ ? Target::kDrop : Target::kReject;
  }

  Treatments clusterIpTreatments() const {
    const Target target = service_.internalLocal ? localTarget() : clusterTarget();
    const bool notPods = policy_.masqueradeAll || policy_.knowsPods.of(plan_.family);
    return {{target, policy_.masqueradeAll}, {target, notPods}, {target, notPods}};
  }

  /// With externalTrafficPolicy Local, pods and the host itself reach all endpoints nevertheless.
  Treatments externalTreatments() const {
    if (!service_.externalLocal) {
      const Treatment all{clusterTarget(), true};
      return {all, all, all};
    }
    return {{clusterTarget(), false}, {clusterTarget(), true}, {localTarget(), false}};
  }

  void addExternal() {
    const auto outside = externalTreatments();
    for (const IpAddress& address : external_)
      add(Frontend::Kind::kExternalIp, address, port_.port, outside);
    for (const IpAddress& address : balanced_)
      add(Frontend::Kind::kLoadBalancer, address, port_.port, outside);
    if (port_.nodePort != 0)
      add(Frontend::Kind::kNodePort, IpAddress::unspecified(plan_.family), port_.nodePort, outside);
  }

  void add(Frontend::Kind kind, const IpAddress& address, std::uint16_t port,
           const Treatments& by) {
    plan_.frontends.push_back({kind, address, port, by});
  }

  const Service& service_;
  const Service::Port& port_;
  const Node& node_;
  const Policy& policy_;
  std::vector<IpAddress> external_, balanced_;
  bool anywhere_ = false;  // there is a usable endpoint on some node
  PortPlan plan_;
};

}  // namespace

std::vector<PortPlan> compile(const Service& service, const Slices& slices, const Node& node,
                              const Policy& policy) {
  std::vector<PortPlan> plans;
  if (service.foreign) return plans;
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (ofFamily(service.clusterIps, family).empty()) continue;
    for (const Service::Port& port : service.ports)
      plans.push_back(PortCompiler(service, port, family, node, policy).compile(slices));
  }
  return plans;
}

std::size_t countReadyHere(const Slices& slices, const std::string& node) {
  std::set<IpAddress> addresses;
  for (const EndpointSlice* slice : slices) {
    for (const Endpoint& endpoint : slice->endpoints) {
      if (endpoint.ready && endpoint.node == node && endpoint.address)
        addresses.insert(*endpoint.address);
    }
  }
  return addresses.size();
}

}  // namespace culvert::services
