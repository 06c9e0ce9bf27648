#include "plugins/portmap/portmap.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <set>

#include "cni/rollback.h"
#include "hostfw/mapped_flows.h"
#include "hostfw/portmap.h"
#include "hostfw/reference_state.h"
#include "netlink/conntrack.h"
#include "netlink/rtnl.h"
#include "plugins/portmap/config.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

using hostfw::PortMapping;

Result<const cni::AddResult*> requireChain(const cni::Request& request) {
  if (request.prevResult) return &*request.prevResult;
  return makeError(Errc::kInvalidConfig,
                   "prevResult is missing: portmap must be called as chained plugin");
}

/// The interface by which the host reaches the container, if 127.0.0.0/8 is to be mapped: answers
/// come back through it to an address that the kernel otherwise does not let in.
std::string findLocalnetInterface(netlink::Rtnl& host, const std::vector<PortMapping>& mappings,
                                  const hostfw::PortmapOptions& options) {
  const auto v4 = std::find_if(mappings.begin(), mappings.end(), [](const PortMapping& mapping) {
    return mapping.container.family() == Family::kV4;
  });
  if (!options.snat || v4 == mappings.end()) return {};
  const auto route = host.findRoute(v4->container.address());
  if (!route || route->type != RTN_UNICAST) return {};  // no way there now: no way for localhost
  const auto link = host.findLink(route->link);
  return link ? link->name : "";
}

Result<void> forget(nft::Connection& nft, const std::vector<PortMapping>& mappings) {
  if (!hostfw::haveFlows(mappings)) return {};
  auto conntrack = conntrack::Connection::on(TRY(nft.share()));
  return hostfw::forgetMappedFlows(conntrack, mappings);
}

Result<void> forgetFormer(nft::Connection& nft, netlink::Rtnl& host,
                          const std::vector<PortMapping>& mappings) {
  if (!hostfw::haveFlows(mappings)) return {};
  auto conntrack = conntrack::Connection::on(TRY(nft.share()));
  return hostfw::forgetFormerFlows(conntrack, host, mappings);
}

Result<void> removeAll(nft::Connection& nft, const cni::Request& request) {
  const auto mappings = TRY(hostfw::removePortmap(nft, ownerOf(request)));
  return forget(nft, mappings);
}

std::vector<IpAddress> addressesOf(const cni::Request& request) {
  std::vector<IpAddress> addresses;
  if (!request.prevResult) return addresses;
  for (const cni::IpConfig& ip : request.prevResult->ips)
    addresses.push_back(ip.address.address());
  return addresses;
}

Result<cni::AddResult> add(const cni::Request& request) {
  PortmapConfig config = TRY(parsePortmapConfig(request));
  const cni::AddResult& result = *TRY(requireChain(request));
  const auto mappings = TRY(planMappings(config, result));
  if (mappings.empty()) return result;

  netlink::Rtnl host = TRY(netlink::Rtnl::open());
  config.options.localnetInterface = findLocalnetInterface(host, mappings, config.options);
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  cni::Rollback rollback;
  rollback.onFailure("remove port mappings", [&] { return removeAll(nft, request); });
  TRY(hostfw::ensurePortmap(nft, ownerOf(request), mappings, config.options));
  TRY(forgetFormer(nft, host, mappings));
  rollback.dismiss();
  return result;
}

Result<void> del(const cni::Request& request) {
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  FirstError outcome;
  outcome.note(removeAll(nft, request));
  outcome.note(hostfw::removeReferencePortmap(nft, ownerOf(request), addressesOf(request)));
  return std::move(outcome).take();
}

Result<void> check(const cni::Request& request) {
  PortmapConfig config = TRY(parsePortmapConfig(request));
  const cni::AddResult& result = *TRY(requireChain(request));
  const auto mappings = TRY(planMappings(config, result));
  if (mappings.empty()) return {};
  netlink::Rtnl host = TRY(netlink::Rtnl::open());
  config.options.localnetInterface = findLocalnetInterface(host, mappings, config.options);
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  return hostfw::checkPortmap(nft, ownerOf(request), mappings, config.options);
}

Result<void> gc(const cni::Request& request) {
  if (!request.validAttachments) return {};
  const std::set<Attachment> valid(request.validAttachments->begin(),
                                   request.validAttachments->end());
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  FirstError outcome;
  const auto mappings = hostfw::collectPortmap(nft, request.network, valid);
  outcome.note(mappings ? forget(nft, *mappings) : Result<void>(mappings.error()));
  outcome.note(hostfw::collectReferencePortmap(nft, request.network, valid));
  return std::move(outcome).take();
}

Result<void> status(const cni::Request& request) {
  static_cast<void>(TRY(parsePortmapConfig(request)));
  auto nft = nft::Connection::openBriefly();
  const auto generation = nft ? nft->generation() : Result<nft::Generation>(nft.error());
  if (generation) return {};
  return makeError(Errc::kNotAvailable, "nf_tables cannot be used: " + generation.error().message);
}

}  // namespace

const cni::Plugin kPortmap{.name = "portmap",
                           .oldest = cni::Version::k010,
                           .add = add,
                           .del = del,
                           .check = check,
                           .gc = gc,
                           .status = status};

}  // namespace culvert::plugins
