#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ip.h"
#include "daemons/objects/node.h"
#include "daemons/objects/service.h"

/// What becomes of a Service's packets on this node. Pure, and the same for every backend: a
/// backend renders what is decided here. reference: kubernetes/pkg/proxy (1.36).
namespace culvert::services {

using objects::Key;
using objects::PerFamily;
using objects::Protocol;

/// Where a packet to a Service comes from. A pod is what detectLocalMode takes for one.
enum class Origin : std::uint8_t { kPod, kHost, kOutside };
inline constexpr std::array kOrigins{Origin::kPod, Origin::kHost, Origin::kOutside};

/// What compiling needs to know of this node and of the cluster.
struct Node {
  std::string name, zone;            // zone: label topology.kubernetes.io/zone; may be empty
  std::vector<IpAddress> addresses;  // of its interfaces
  bool operator==(const Node&) const = default;
};
struct Policy {
  bool masqueradeAll = false;                // packets to cluster IPs always are
  PerFamily<bool> knowsPods = {true, true};  // without, nobody counts as a pod
  bool operator==(const Policy&) const = default;
};

/// An endpoint's address for one port of a Service.
struct Backend {
  IpAddress address;
  std::uint16_t port = 0;
  bool local = false;  // on this node
  auto operator<=>(const Backend&) const = default;
};

enum class Target : std::uint8_t {
  kCluster,  // to one of PortPlan::cluster
  kLocal,    // to one of PortPlan::local
  kReject,   // TCP reset, or ICMP port unreachable: there is no endpoint anywhere
  kDrop,     // there are some, but none on this node
};

/// What is done with packets of one origin.
struct Treatment {
  Target target = Target::kReject;
  bool masquerade = false;  // an endpoint that reaches itself always is
  bool operator==(const Treatment&) const = default;
};

/// By origin.
class Treatments {
 public:
  Treatments() = default;
  Treatments(Treatment pod, Treatment host, Treatment outside) : by_{pod, host, outside} {}
  const Treatment& of(Origin origin) const { return by_[static_cast<std::size_t>(origin)]; }
  bool operator==(const Treatments&) const = default;

 private:
  std::array<Treatment, 3> by_;
};

/// An address and port at which a Service is reached.
struct Frontend {
  enum class Kind : std::uint8_t { kClusterIp, kExternalIp, kLoadBalancer, kNodePort };
  Kind kind = Kind::kClusterIp;
  IpAddress address;  // unspecified for a node port: every address that node ports are open at
  std::uint16_t port = 0;
  Treatments by;
  bool operator==(const Frontend&) const = default;
};

/// One port of a Service in one family.
struct PortPlan {
  std::string name;  // the port's
  Protocol protocol = Protocol::kTcp;
  Family family = Family::kV4;
  std::vector<Frontend> frontends;
  std::vector<Backend> cluster, local;  // sorted; empty where no frontend leads there
  std::vector<Backend> serving;         // UDP only: whose flows may go on
  std::chrono::seconds affinity{};      // 0: none
  /// Who may send to load balancers' addresses; empty: everybody.
  std::vector<IpPrefix> sources;
  bool internalLocal = false, externalLocal = false;  // the Service's traffic policies
  bool operator==(const PortPlan&) const = default;
};

/// All that is known of one Service's endpoints: its slices in the order of their names.
using Slices = std::vector<const objects::EndpointSlice*>;

/// Nothing for a Service that is not ours: headless, ExternalName, or another proxy's.
std::vector<PortPlan> compile(const objects::Service& service, const Slices& slices,
                              const Node& node, const Policy& policy);

/// Why a list of a plan has an endpoint, or has not.
enum class Reason : std::uint8_t {
  kReady,        // it has it
  kServesYet,    // it has it: it terminates, but serves, and none is ready
  kNotReady,     // nor can it stand in for those that are
  kTerminating,  // it serves yet, but others are ready
  kOtherNodes,   // hints.forNodes lead other nodes to it
  kOtherZones,   // hints.forZones lead other zones to it
  kElsewhere,    // policy Local, and it is on another node
  kNotAsked,     // no frontend of the port leads to this list
  kDuplicate,    // another endpoint with this address and port is more alive, or came first
  kNoSuchPort,   // its slice has no port with this name and protocol
  kNoAddress,    // a name (FQDN), or nothing
};
constexpr bool isUsed(Reason reason) {
  return reason == Reason::kReady || reason == Reason::kServesYet;
}

/// What was decided about one endpoint of a slice, for one port of its Service.
struct Judged {
  const objects::EndpointSlice::Endpoint* endpoint = nullptr;
  std::size_t slice = 0;   // its index in the Slices
  std::uint16_t port = 0;  // 0: kNoSuchPort
  Reason cluster = Reason::kNotAsked, local = Reason::kNotAsked;
};

/// A PortPlan and the decisions that made it: each endpoint of its family, and those without
/// address.
struct Explanation {
  PortPlan plan;
  std::vector<Judged> endpoints;
};
/// What compile() returns, each with its reasons.
std::vector<Explanation> explain(const objects::Service& service, const Slices& slices,
                                 const Node& node, const Policy& policy);

/// How many distinct addresses of this node are ready endpoints: what a health check node port
/// tells (X-Load-Balancing-Endpoint-Weight).
std::size_t countReadyHere(const Slices& slices, const std::string& node);

}  // namespace culvert::services
