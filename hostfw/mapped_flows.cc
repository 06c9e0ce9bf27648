#include "hostfw/mapped_flows.h"

#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace culvert::hostfw {
namespace {

using conntrack::Entry;
using conntrack::Filter;

bool hasFlows(const PortMapping& mapping) {
  return mapping.protocol == IPPROTO_UDP || mapping.protocol == IPPROTO_SCTP;
}

bool isTo(const PortMapping& mapping, const Entry& entry) {
  const std::uint32_t port = entry.original.destinationPort;
  return entry.protocol == mapping.protocol && port >= mapping.hostPort &&
         port < std::uint32_t{mapping.hostPort} + mapping.count &&
         (!mapping.hostIp || *mapping.hostIp == entry.original.destination);
}

bool isToAny(const std::vector<PortMapping>& mappings, const Entry& entry) {
  return std::any_of(mappings.begin(), mappings.end(),
                     [&](const PortMapping& mapping) { return isTo(mapping, entry); });
}

/// The kernel walks its whole table for each listing: one for all mappings of a container that have
/// family and protocol in common.
using Group = std::pair<Family, std::uint8_t>;
std::map<Group, std::vector<PortMapping>> grouped(const std::vector<PortMapping>& mappings) {
  std::map<Group, std::vector<PortMapping>> groups;
  for (const PortMapping& mapping : mappings) {
    if (hasFlows(mapping))
      groups[{mapping.container.family(), mapping.protocol}].push_back(mapping);
  }
  return groups;
}

Filter filterOf(const std::vector<PortMapping>& group) {
  Filter filter;
  filter.family = group.front().container.family();
  filter.protocol = group.front().protocol;
  if (group.size() == 1 && group.front().count == 1)
    filter.originalDestinationPort = group.front().hostPort;
  return filter;
}

/// Remembers what it has looked up: flows to one port are mostly flows to one address.
class LocalAddresses {
 public:
  explicit LocalAddresses(netlink::Rtnl& host) : host_(host) {}
  bool contains(const IpAddress& address) {
    const auto known = known_.find(address);
    if (known != known_.end()) return known->second;
    const auto route = host_.findRoute(address);
    return known_[address] = route && route->type == RTN_LOCAL;
  }

 private:
  netlink::Rtnl& host_;
  std::map<IpAddress, bool> known_;
};

}  // namespace

bool haveFlows(const std::vector<PortMapping>& mappings) {
  return std::any_of(mappings.begin(), mappings.end(), hasFlows);
}

Result<void> forgetFormerFlows(conntrack::Connection& conntrack, netlink::Rtnl& host,
                               const std::vector<PortMapping>& mappings) {
  LocalAddresses local(host);
  std::vector<Entry> former;
  for (const auto& [group, members] : grouped(mappings)) {
    for (Entry& entry : TRY(conntrack.list(filterOf(members)))) {
      const bool isOurs = entry.reply.source == members.front().container.address();
      if (isOurs || !isToAny(members, entry)) continue;
      if (local.contains(entry.original.destination)) former.push_back(std::move(entry));
    }
  }
  const auto removed = conntrack.remove(former);
  return removed ? Result<void>() : removed.error();
}

Result<void> forgetMappedFlows(conntrack::Connection& conntrack,
                               const std::vector<PortMapping>& mappings) {
  std::vector<Entry> mapped;
  for (const auto& [group, members] : grouped(mappings)) {
    std::set<IpAddress> containers;
    for (const PortMapping& mapping : members)
      containers.insert(mapping.container.address());
    Filter filter = filterOf(members);
    if (containers.size() == 1) filter.replySource = *containers.begin();
    for (Entry& entry : TRY(conntrack.list(filter))) {
      if (containers.contains(entry.reply.source) && isToAny(members, entry))
        mapped.push_back(std::move(entry));
    }
  }
  const auto removed = conntrack.remove(mapped);
  return removed ? Result<void>() : removed.error();
}

}  // namespace culvert::hostfw
