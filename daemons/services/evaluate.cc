#include "daemons/services/evaluate.h"

#include <algorithm>

namespace culvert::services {
namespace {

std::optional<Model::Held> frontendOf(const Model& model, const std::set<IpAddress>& nodePorts,
                                      const Packet& packet) {
  if (auto held = model.find(At{packet.to, packet.port, packet.protocol})) return held;
  if (nodePorts.count(packet.to) == 0) return std::nullopt;
  return model.find(At{IpAddress::unspecified(packet.to.family()), packet.port, packet.protocol});
}

bool mayEnter(const Model::Held& held, const IpAddress& from) {
  const auto& sources = held.port->sources;
  if (held.frontend->kind != Frontend::Kind::kLoadBalancer || sources.empty()) return true;
  return std::any_of(sources.begin(), sources.end(),
                     [&](const IpPrefix& range) { return range.contains(from); });
}

Verdict withoutFrontend(const Model& model, const Packet& packet) {
  if (!model.isClusterIp(packet.to)) return {};
  Verdict verdict;
  verdict.kind = Verdict::Kind::kReject;
  verdict.because = "the Service with this cluster IP has no such port";
  return verdict;
}

Verdict treated(const PortPlan& port, const Treatment& treatment) {
  switch (treatment.target) {
    case Target::kCluster:
      return {Verdict::Kind::kForward, port.cluster, treatment.masquerade, {}, {}};
    case Target::kLocal:
      return {Verdict::Kind::kForward, port.local, treatment.masquerade, {}, {}};
    case Target::kReject:
      return {Verdict::Kind::kReject, {}, false, {}, "it has no usable endpoint"};
    case Target::kDrop:
      return {Verdict::Kind::kDrop,
              {},
              false,
              {},
              "its traffic policy is Local, and its endpoints are on other nodes"};
  }
  return {};
}

/// Who is no pod is masqueraded at every port of a cluster IP, also at one that another Service has
/// as its external IP: kube-proxy looks at the address only, and so do the rules.
bool isMasqueradedByAddress(const Model& model, const Packet& packet) {
  return packet.origin != Origin::kPod && model.isClusterIp(packet.to) &&
         model.policy().knowsPods.of(packet.to.family());
}

}  // namespace

Verdict evaluate(const Model& model, const std::set<IpAddress>& nodePortAddresses,
                 const Packet& packet) {
  const auto held = frontendOf(model, nodePortAddresses, packet);
  if (!held) return withoutFrontend(model, packet);
  Verdict verdict;
  if (mayEnter(*held, packet.from)) {
    verdict = treated(*held->port, held->frontend->by.of(packet.origin));
    if (verdict.kind == Verdict::Kind::kForward && isMasqueradedByAddress(model, packet))
      verdict.masquerade = true;
  } else {
    verdict.kind = Verdict::Kind::kDrop;
    verdict.because = "the source is not in loadBalancerSourceRanges";
    verdict.mayEnter = false;
  }
  verdict.service = held->service;
  verdict.held = held;
  return verdict;
}

}  // namespace culvert::services
