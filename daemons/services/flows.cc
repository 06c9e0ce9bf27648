#include "daemons/services/flows.h"

#include <algorithm>

namespace culvert::services {

using conntrack::Entry;

std::vector<Entry> staleAmong(const std::vector<Entry>& entries, const Model& model,
                              const std::set<At>& frontends,
                              const std::set<IpAddress>& nodePortAddresses) {
  static const std::vector<Backend> kNone;
  std::vector<Entry> stale;
  for (const Entry& entry : entries) {
    if (entry.protocol != static_cast<std::uint8_t>(Protocol::kUdp)) continue;
    At at{entry.original.destination, entry.original.destinationPort, Protocol::kUdp};
    if (frontends.count(at) == 0 && nodePortAddresses.count(at.address) != 0)
      at.address = IpAddress::unspecified(entry.family);
    if (frontends.count(at) == 0) continue;
    const auto held = model.find(at);
    if (isStale(entry, held ? held->port->serving : kNone)) stale.push_back(entry);
  }
  return stale;
}

bool isStale(const Entry& entry, const std::vector<Backend>& serving) {
  const bool translated = entry.reply.source != entry.original.destination ||
                          entry.reply.sourcePort != entry.original.destinationPort;
  if (!translated) return !serving.empty();
  return std::none_of(serving.begin(), serving.end(), [&](const Backend& backend) {
    return backend.address == entry.reply.source && backend.port == entry.reply.sourcePort;
  });
}

Result<std::size_t> forgetStaleFlows(conntrack::Connection& conntrack, const Model& model,
                                     const std::set<At>& frontends,
                                     const std::set<IpAddress>& nodePortAddresses) {
  std::set<Family> families;
  for (const At& at : frontends) {
    if (at.protocol == Protocol::kUdp) families.insert(at.address.family());
  }
  std::size_t removed = 0;
  for (const Family family : families) {
    const conntrack::Filter filter{.family = family,
                                   .protocol = static_cast<std::uint8_t>(Protocol::kUdp)};
    const auto entries = TRY(conntrack.list(filter).context("list UDP flows"));
    removed += TRY(conntrack.remove(staleAmong(entries, model, frontends, nodePortAddresses)));
  }
  return removed;
}

}  // namespace culvert::services
