#pragma once

#include <set>

#include "daemons/services/model.h"
#include "netlink/conntrack.h"

/// Flows of UDP go on where their first packet was sent, for as long as they last. Those of a
/// frontend that has changed are looked at, and the wrong ones forgotten; TCP ends by itself, and
/// has to be able to.
namespace culvert::services {

/// Whether a flow to a frontend goes where none of the `serving` ones is: to an endpoint that is
/// gone, or, not being translated, to nobody although there is somebody now. Traffic policy and
/// topology do not matter: an endpoint that still serves keeps its flows.
bool isStale(const conntrack::Entry& entry, const std::vector<Backend>& serving);

/// Those of UDP, to one of these frontends, that are stale.
std::vector<conntrack::Entry> staleAmong(const std::vector<conntrack::Entry>& entries,
                                         const Model& model, const std::set<At>& frontends,
                                         const std::set<IpAddress>& nodePortAddresses);

/// Forgets stale flows to these frontends; returns how many there were. Reads the table at most
/// once for each family that has UDP among them.
Result<std::size_t> forgetStaleFlows(conntrack::Connection& conntrack, const Model& model,
                                     const std::set<At>& frontends,
                                     const std::set<IpAddress>& nodePortAddresses);

}  // namespace culvert::services
