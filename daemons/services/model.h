#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemons/services/plan.h"

namespace culvert::services {

/// Where packets are addressed to: what no two Services can share.
struct At {
  IpAddress address;  // unspecified: a node port
  std::uint16_t port = 0;
  Protocol protocol = Protocol::kTcp;
  auto operator<=>(const At&) const = default;
};

/// All Services as this node sees them. Each is compiled again only when it, one of its slices, or
/// what is common to all has changed. What comes out depends on the objects alone, not on the order
/// in which they came.
class Model {
 public:
  /// Objects are not copied: each must live until the next call with its key. Null: it is gone.
  void set(const Key& key, const objects::Service* service);
  void set(const Key& key, const objects::EndpointSlice* slice);
  void setNode(Node node);
  void setPolicy(Policy policy);

  /// What a backend has to look at again.
  struct Change {
    std::set<At> frontends;
    std::set<Key> services;  // whose endpoints, ports or affinity are others
    bool empty() const { return frontends.empty() && services.empty(); }
    void merge(Change other) {
      frontends.merge(other.frontends);
      services.merge(other.services);
    }
  };
  /// Compiles what is out of date.
  Change refresh();

  /// All there is, as a change.
  Change everything() const;

  const std::vector<PortPlan>* find(const Key& service) const;
  /// The frontend as the Service with the first claim has it: cluster IPs go before addresses that
  /// anybody may write into a Service, then the order of keys decides.
  struct Held {
    Key service;
    const PortPlan* port = nullptr;
    const Frontend* frontend = nullptr;
  };
  std::optional<Held> find(const At& at) const;
  bool isClusterIp(const IpAddress& address) const { return clusterIps_.count(address) > 0; }
  const Node& node() const { return node_; }
  const Policy& policy() const { return policy_; }

  /// Frontends that more than one Service claims: who has it, and who has not.
  struct Conflict {
    At at;
    Key holder;
    std::vector<Key> others;
  };
  std::vector<Conflict> conflicts() const;

  /// Those that claim the frontend, the holder first.
  std::vector<Key> claimants(const At& at) const;

  const std::map<Key, std::vector<PortPlan>>& plans() const { return plans_; }
  /// All that were set, also those that are not ours and have no plan.
  const std::map<Key, const objects::Service*>& services() const { return services_; }
  Slices slicesOf(const Key& service) const;
  /// In the order of slicesOf().
  std::vector<Key> sliceKeysOf(const Key& service) const;

 private:
  using Claim = std::pair<Frontend::Kind, Key>;
  void claim(const Key& service, const std::vector<PortPlan>& plans, Change& change);
  void release(const Key& service, const std::vector<PortPlan>& plans, Change& change);
  void compileAgain(const Key& service, Change& change);

  Node node_;
  Policy policy_;
  std::map<Key, const objects::Service*> services_;
  std::map<Key, const objects::EndpointSlice*> slices_;
  std::map<Key, std::set<Key>> slicesByService_;
  std::map<Key, Key> serviceOfSlice_;
  std::map<Key, std::vector<PortPlan>> plans_;
  std::map<At, std::set<Claim>> claims_;
  std::multiset<IpAddress> clusterIps_;
  std::set<Key> dirty_;
};

At placeOf(const PortPlan& port, const Frontend& frontend);

}  // namespace culvert::services
