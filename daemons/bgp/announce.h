#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/ip.h"

namespace culvert::bgp {

/// What announcing needs to know of a Service.
struct ServiceFacts {
  std::string key;                         // "namespace/name"
  std::vector<IpAddress> clusterIps;       // none for a headless one
  std::vector<IpAddress> externalIps;      // spec.externalIPs
  std::vector<IpAddress> loadBalancerIps;  // status.loadBalancer.ingress[].ip
  bool externalLocal = false;              // externalTrafficPolicy: Local
  bool internalLocal = false;              // internalTrafficPolicy: Local
};

/// One endpoint of an EndpointSlice.
struct EndpointFacts {
  std::string service;  // key of its Service
  std::string node;     // nodeName; empty if it has none
  bool ready = false;   // conditions.ready, which is false while it terminates
};

/// The cluster's policy, from BGPConfiguration, and this node's state.
struct AnnounceFacts {
  std::string thisNode;
  std::vector<IpPrefix> clusterIpRanges;     // serviceClusterIPs
  std::vector<IpPrefix> externalIpRanges;    // serviceExternalIPs
  std::vector<IpPrefix> loadBalancerRanges;  // serviceLoadBalancerIPs
  bool aggregateLoadBalancer = true;         // serviceLoadBalancerAggregation: Enabled
  bool excluded = false;  // labelled node.kubernetes.io/exclude-from-external-load-balancers
  bool draining = false;  // about to leave: announces nothing, so that traffic goes elsewhere first
};

/// Pure. The prefixes that this node announces, sorted:
/// - each configured range of more than one address, as a whole, from every node;
/// - a Service's addresses within the ranges one by one, from nodes with a ready endpoint of it
///   where its policy says Local (externalTrafficPolicy; for cluster IPs either that or
///   internalTrafficPolicy), and otherwise (Cluster) where no announced range covers them: ranges
///   of one address, and load balancers' without aggregation.
/// Several Services may share an address: it stays as long as one of them has it announced.
/// Addresses outside the ranges are never announced, whoever writes them into a Service.
std::vector<IpPrefix> announcements(const AnnounceFacts& facts,
                                    const std::vector<ServiceFacts>& services,
                                    const std::vector<EndpointFacts>& endpoints);

}  // namespace culvert::bgp
