#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "daemons/objects/kind.h"

namespace culvert::objects {

/// IPPROTO_* (netinet/in.h): those that a Service's port may have.
enum class Protocol : std::uint8_t { kTcp = 6, kUdp = 17, kSctp = 132 };
/// "TCP", as in the API.
std::string_view textOf(Protocol protocol);

/// An address of status.loadBalancer.ingress.
struct Ingress {
  IpAddress address;
  bool proxied = false;  // ipMode: Proxy; its packets go to the real load balancer
  bool operator==(const Ingress&) const = default;
};

/// A Service (core/v1), reduced to its addresses and where they lead.
struct Service {
  struct Port {
    std::string name;  // may be empty if it is the only one
    Protocol protocol = Protocol::kTcp;
    std::uint16_t port = 0;
    std::uint16_t nodePort = 0;  // 0: none
    bool operator==(const Port&) const = default;
  };
  std::string ns, name;
  bool foreign = false;               // label service.kubernetes.io/service-proxy-name, or headless
  std::vector<IpAddress> clusterIps;  // none for a headless one, and for an ExternalName
  std::vector<Port> ports;
  std::vector<IpAddress> externalIps;     // spec.externalIPs
  std::vector<Ingress> loadBalancer;      // status.loadBalancer.ingress with an ip
  std::vector<IpPrefix> sourceRanges;     // spec.loadBalancerSourceRanges
  bool externalLocal = false;             // externalTrafficPolicy: Local
  bool internalLocal = false;             // internalTrafficPolicy: Local
  std::chrono::seconds affinity{};        // of sessionAffinity: ClientIP, 1..86400; 0: None
  std::uint16_t healthCheckNodePort = 0;  // 0: none
  Key key() const { return {ns, name}; }
  bool operator==(const Service&) const = default;
  /// kInvalidConfig naming every field that is wrong.
  static Result<Service> parse(const nlohmann::json& object);
};

/// An EndpointSlice (discovery.k8s.io/v1), reduced to where a Service's packets may go.
struct EndpointSlice {
  struct Port {
    std::string name;
    Protocol protocol = Protocol::kTcp;
    std::uint16_t port = 0;
    bool operator==(const Port&) const = default;
  };
  struct Endpoint {
    std::optional<IpAddress> address;       // the first; none: a name (FQDN), or an empty list
    std::string node;                       // nodeName; empty if it has none
    bool ready = true, serving = true;      // conditions; absent is true
    bool terminating = false;               // conditions; absent is false
    std::vector<std::string> zones, nodes;  // hints.forZones[].name, hints.forNodes[].name
    bool operator==(const Endpoint&) const = default;
  };
  /// When what led to its latest change came about. No difference to anybody who forwards.
  struct Trigger {
    std::chrono::system_clock::time_point at;  // of old: unknown
    bool operator==(const Trigger&) const { return true; }
  };
  std::string ns, service;  // label kubernetes.io/service-name; empty without
  std::vector<Port> ports;  // those with a name and a number
  std::vector<Endpoint> endpoints;
  Trigger trigger;  // annotation endpoints.kubernetes.io/last-change-trigger-time
  bool operator==(const EndpointSlice&) const = default;
  static Result<EndpointSlice> parse(const nlohmann::json& object);
};

}  // namespace culvert::objects
