#include "daemons/services/texts.h"

#include "base/text.h"

namespace culvert::services {
namespace {

std::string withPort(const IpAddress& address, std::uint16_t port) {
  const std::string text = address.text();
  return (address.family() == Family::kV6 ? "[" + text + "]" : text) + ":" + std::to_string(port);
}

}  // namespace

std::string textOf(const Backend& backend) {
  return withPort(backend.address, backend.port);
}

std::string textOf(const At& at) {
  const std::string where =
      at.address.isUnspecified() ? "*:" + std::to_string(at.port) : withPort(at.address, at.port);
  return where + "/" + std::string(objects::textOf(at.protocol));
}

std::string longTextOf(const At& at) {
  if (!at.address.isUnspecified()) return textOf(at);
  return (at.address.family() == Family::kV4 ? "IPv4 node port " : "IPv6 node port ") +
         std::to_string(at.port) + "/" + std::string(objects::textOf(at.protocol));
}

std::string textOf(Frontend::Kind kind) {
  switch (kind) {
    case Frontend::Kind::kClusterIp:
      return "ClusterIP";
    case Frontend::Kind::kExternalIp:
      return "ExternalIP";
    case Frontend::Kind::kLoadBalancer:
      return "LoadBalancer";
    case Frontend::Kind::kNodePort:
      return "NodePort";
  }
  return "?";
}

std::string textOf(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::kNotOurs:
      return "not a service";
    case Verdict::Kind::kForward:
      return "forward";
    case Verdict::Kind::kReject:
      return "reject";
    case Verdict::Kind::kDrop:
      return "drop";
  }
  return "?";
}

std::string textOf(Origin origin) {
  switch (origin) {
    case Origin::kPod:
      return "pod";
    case Origin::kHost:
      return "host";
    case Origin::kOutside:
      return "outside";
  }
  return "?";
}

std::string textOf(Reason reason, const objects::EndpointSlice::Endpoint& endpoint,
                   const Node& node) {
  switch (reason) {
    case Reason::kReady:
      return "ready";
    case Reason::kServesYet:
      return "terminating, but it serves yet, and none is ready";
    case Reason::kNotReady:
      return endpoint.terminating ? "terminating, and it serves no longer" : "not ready";
    case Reason::kTerminating:
      return "terminating, and others are ready";
    case Reason::kOtherNodes:
      return "its hints lead other nodes to it: " + joined(endpoint.nodes);
    case Reason::kOtherZones:
      return "its hints lead other zones to it: " + joined(endpoint.zones) + " (this node is in " +
             node.zone + ")";
    case Reason::kElsewhere:
      return "the policy is Local, and it is on " +
             (endpoint.node.empty() ? "no node" : "node " + endpoint.node);
    case Reason::kNotAsked:
      return "no address of the Service leads to it";
    case Reason::kDuplicate:
      return "a duplicate: another endpoint has this address and port";
    case Reason::kNoSuchPort:
      return "its slice has no port of this name and protocol";
    case Reason::kNoAddress:
      return "it has no IP address";
  }
  return "?";
}

std::string counted(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace culvert::services
