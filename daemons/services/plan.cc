#include "daemons/services/plan.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace culvert::services {
namespace {

using objects::EndpointSlice;
using objects::Service;
using Endpoint = EndpointSlice::Endpoint;

/// An endpoint that may get the port's packets: of several with one address, the one that counts.
struct Candidate {
  Backend backend;
  Judged judged;
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

/// Finds a port's candidates, and notes who is none, and why, if somebody wants to know.
class Collector {
 public:
  Collector(const Service::Port& wanted, Family family, std::vector<Judged>* others)
      : wanted_(wanted), family_(family), others_(others) {}

  Candidates collect(const Slices& slices, const Node& node) {
    for (std::size_t i = 0; i < slices.size(); ++i)
      addSlice(*slices[i], i);
    Candidates all;
    all.reserve(found_.size());
    for (const auto& [at, judged] : found_)
      all.push_back({{at.first, at.second, judged.endpoint->node == node.name}, judged});
    return all;
  }

 private:
  void addSlice(const EndpointSlice& slice, std::size_t index) {
    bool matched = false;
    for (const EndpointSlice::Port& port : slice.ports) {
      if (!matches(port, wanted_)) continue;
      matched = true;
      for (const Endpoint& endpoint : slice.endpoints)
        add({&endpoint, index, port.port});
    }
    if (matched || others_ == nullptr) return;
    for (const Endpoint& endpoint : slice.endpoints) {
      if (!endpoint.address || endpoint.address->family() == family_)
        reject({&endpoint, index}, Reason::kNoSuchPort);
    }
  }

  void add(const Judged& one) {
    const auto& address = one.endpoint->address;
    if (!address) return reject(one, Reason::kNoAddress);
    if (address->family() != family_) return;
    const auto [known, isNew] = found_.try_emplace({*address, one.port}, one);
    if (isNew) return;
    Judged loser = one;
    if (rank(*known->second.endpoint) < rank(*one.endpoint)) std::swap(loser, known->second);
    reject(loser, Reason::kDuplicate);
  }

  void reject(Judged one, Reason reason) {
    if (others_ == nullptr) return;
    one.cluster = one.local = reason;
    others_->push_back(one);
  }

  const Service::Port& wanted_;
  Family family_;
  std::vector<Judged>* others_;
  std::map<std::pair<IpAddress, std::uint16_t>, Judged> found_;
};

template <class Wanted>
std::vector<Backend> backends(const Candidates& candidates, Wanted wanted) {
  std::vector<Backend> all;
  for (const Candidate& candidate : candidates) {
    if (wanted(candidate)) all.push_back(candidate.backend);
  }
  all.shrink_to_fit();  // there are as many of these lists as Services
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
    const Endpoint& endpoint = *candidate.judged.endpoint;
    if (!endpoint.ready) continue;
    nodesHinted = nodesHinted && !endpoint.nodes.empty();
    zonesHinted = zonesHinted && !endpoint.zones.empty();
    ourNode = ourNode || contains(endpoint.nodes, node.name);
    ourZone = ourZone || (!node.zone.empty() && contains(endpoint.zones, node.zone));
  }
  if (nodesHinted && ourNode) return Topology::kSameNode;
  return zonesHinted && ourZone ? Topology::kSameZone : Topology::kNone;
}

Reason byHints(const Endpoint& endpoint, Topology topology, const Node& node) {
  if (topology == Topology::kSameNode && !contains(endpoint.nodes, node.name))
    return Reason::kOtherNodes;
  if (topology == Topology::kSameZone && !contains(endpoint.zones, node.zone))
    return Reason::kOtherZones;
  return Reason::kReady;
}

using List = Reason Judged::*;

/// The endpoints that are judged to be in the list.
std::vector<Backend> taken(const Candidates& candidates, List list) {
  return backends(candidates, [&](const Candidate& c) { return isUsed(c.judged.*list); });
}

/// Judges by `ofReady(candidate)` who is ready; if the list has none of those, then by
/// `ofServing(candidate)` who serves while it terminates.
template <class OfReady, class OfServing>
void judge(Candidates& candidates, List list, OfReady ofReady, OfServing ofServing) {
  bool any = false;
  for (Candidate& candidate : candidates) {
    Reason& reason = candidate.judged.*list;
    reason = candidate.judged.endpoint->ready ? ofReady(candidate) : Reason::kNotReady;
    any = any || isUsed(reason);
  }
  for (Candidate& candidate : candidates) {
    const Endpoint& endpoint = *candidate.judged.endpoint;
    if (endpoint.ready || !isUsableFallback(endpoint)) continue;
    candidate.judged.*list = any ? Reason::kTerminating : ofServing(candidate);
  }
}

void judgeCluster(Candidates& candidates, const Node& node) {
  const Topology topology = topologyOf(candidates, node);
  judge(
      candidates, &Judged::cluster,
      [&](const Candidate& c) { return byHints(*c.judged.endpoint, topology, node); },
      [](const Candidate&) { return Reason::kServesYet; });
}

void judgeLocal(Candidates& candidates) {
  judge(
      candidates, &Judged::local,
      [](const Candidate& c) { return c.backend.local ? Reason::kReady : Reason::kElsewhere; },
      [](const Candidate& c) { return c.backend.local ? Reason::kServesYet : Reason::kElsewhere; });
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
    plan_.internalLocal = service.internalLocal;
    plan_.externalLocal = service.externalLocal;
  }

  /// `judged`: gets the reasons, if not null.
  PortPlan compile(const Slices& slices, std::vector<Judged>* judged) {
    Candidates candidates = Collector(port_, plan_.family, judged).collect(slices, node_);
    choose(candidates);
    if (judged != nullptr) {
      for (const Candidate& candidate : candidates)
        judged->push_back(candidate.judged);
    }
    const auto inside = clusterIpTreatments();
    for (const IpAddress& address : ofFamily(service_.clusterIps, plan_.family)) {
      if (!isOfThisNode(address)) add(Frontend::Kind::kClusterIp, address, port_.port, inside);
    }
    if (isExternallyAccessible()) addExternal();
    plan_.sources = sourcesOf(service_, plan_.family, balanced_, node_);
    return std::move(plan_);
  }

 private:
  /// All ports of a cluster IP are its Service's: the node would be cut off.
  bool isOfThisNode(const IpAddress& address) const {
    return std::find(node_.addresses.begin(), node_.addresses.end(), address) !=
           node_.addresses.end();
  }

  bool isExternallyAccessible() const {
    return port_.nodePort != 0 || !external_.empty() || !balanced_.empty();
  }

  void choose(Candidates& candidates) {
    const bool external = isExternallyAccessible();
    judgeCluster(candidates, node_);
    plan_.cluster = taken(candidates, &Judged::cluster);
    anywhere_ = !plan_.cluster.empty();
    if (service_.internalLocal && !external) forgetCluster(candidates);
    if (service_.internalLocal || (service_.externalLocal && external)) judgeLocal(candidates);
    plan_.local = taken(candidates, &Judged::local);
    if (plan_.protocol == Protocol::kUdp)
      plan_.serving =
          backends(candidates, [](const Candidate& c) { return c.judged.endpoint->serving; });
  }

  void forgetCluster(Candidates& candidates) {
    plan_.cluster.clear();
    for (Candidate& candidate : candidates)
      candidate.judged.cluster = Reason::kNotAsked;
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

template <class Do>
void forEachPort(const Service& service, Do perform) {
  if (service.foreign) return;
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (ofFamily(service.clusterIps, family).empty()) continue;
    for (const Service::Port& port : service.ports)
      perform(port, family);
  }
}

}  // namespace

std::vector<PortPlan> compile(const Service& service, const Slices& slices, const Node& node,
                              const Policy& policy) {
  std::vector<PortPlan> plans;
  forEachPort(service, [&](const Service::Port& port, Family family) {
    plans.push_back(PortCompiler(service, port, family, node, policy).compile(slices, nullptr));
  });
  return plans;
}

std::vector<Explanation> explain(const Service& service, const Slices& slices, const Node& node,
                                 const Policy& policy) {
  std::vector<Explanation> all;
  forEachPort(service, [&](const Service::Port& port, Family family) {
    Explanation& one = all.emplace_back();
    one.plan = PortCompiler(service, port, family, node, policy).compile(slices, &one.endpoints);
  });
  return all;
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
