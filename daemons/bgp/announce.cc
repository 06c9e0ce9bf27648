#include "daemons/bgp/announce.h"

#include <algorithm>
#include <set>

namespace culvert::bgp {
namespace {

bool isSingle(const IpPrefix& prefix) {
  return prefix.length() == addressBits(prefix.family());
}

const IpPrefix* rangeOf(const std::vector<IpPrefix>& ranges, const IpAddress& address) {
  const auto found = std::find_if(ranges.begin(), ranges.end(),
                                  [&](const IpPrefix& each) { return each.contains(address); });
  return found == ranges.end() ? nullptr : &*found;
}

/// Ranges that every node announces as a whole.
void addWhole(const std::vector<IpPrefix>& ranges, std::set<IpPrefix>& result) {
  for (const IpPrefix& range : ranges) {
    if (!isSingle(range)) result.insert(range.network());
  }
}

/// A Service's addresses of one kind.
struct Addresses {
  const std::vector<IpAddress>& list;
  const std::vector<IpPrefix>& ranges;
  bool aggregated = true;  // their ranges are announced as a whole
  bool local = false;      // only where there is a ready endpoint
};

void addEach(const Addresses& addresses, bool endpointHere, std::set<IpPrefix>& result) {
  for (const IpAddress& address : addresses.list) {
    const IpPrefix* range = rangeOf(addresses.ranges, address);
    if (range == nullptr) continue;
    const bool covered = addresses.aggregated && !isSingle(*range);
    if (addresses.local ? endpointHere : !covered) result.insert(IpPrefix::host(address));
  }
}

}  // namespace

std::vector<IpPrefix> announcements(const AnnounceFacts& facts,
                                    const std::vector<ServiceFacts>& services,
                                    const std::vector<EndpointFacts>& endpoints) {
  if (facts.excluded || facts.draining) return {};
  std::set<std::string> here;  // Services with a ready endpoint on this node
  for (const EndpointFacts& endpoint : endpoints) {
    if (endpoint.ready && endpoint.node == facts.thisNode) here.insert(endpoint.service);
  }
  std::set<IpPrefix> result;
  addWhole(facts.clusterIpRanges, result);
  addWhole(facts.externalIpRanges, result);
  if (facts.aggregateLoadBalancer) addWhole(facts.loadBalancerRanges, result);
  for (const ServiceFacts& service : services) {
    const bool endpointHere = here.contains(service.key);
    const bool local = service.externalLocal;
    addEach({service.clusterIps, facts.clusterIpRanges, true, local || service.internalLocal},
            endpointHere, result);
    addEach({service.externalIps, facts.externalIpRanges, true, local}, endpointHere, result);
    addEach({service.loadBalancerIps, facts.loadBalancerRanges, facts.aggregateLoadBalancer, local},
            endpointHere, result);
  }
  return {result.begin(), result.end()};
}

}  // namespace culvert::bgp
