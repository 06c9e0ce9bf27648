#include "plugins/firewall/firewall.h"

#include <set>

#include "cni/rollback.h"
#include "hostfw/forward.h"
#include "hostfw/reference_state.h"
#include "netlink/nft.h"
#include "plugins/firewall/config.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

/// All that prevResult tells of: the reference's rules are known by nothing else.
std::vector<IpAddress> addressesOf(const cni::Request& request) {
  std::vector<IpAddress> addresses;
  if (!request.prevResult) return addresses;
  for (const cni::IpConfig& ip : request.prevResult->ips)
    addresses.push_back(ip.address.address());
  return addresses;
}

Result<cni::AddResult> add(const cni::Request& request) {
  const FirewallConfig config = TRY(parseFirewallConfig(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  const Forwarded plan = TRY(planForward(config, result));
  if (!config.enabled) return result;
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  cni::Rollback rollback;
  rollback.onFailure("remove from the forward filter",
                     [&] { return hostfw::removeForward(nft, ownerOf(request)); });
  TRY(hostfw::ensureForward(nft, ownerOf(request), plan.addresses, plan.options));
  rollback.dismiss();
  return result;
}

Result<void> del(const cni::Request& request) {
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  FirstError outcome;
  outcome.note(hostfw::removeForward(nft, ownerOf(request)));
  outcome.note(hostfw::removeReferenceForward(nft, addressesOf(request)));
  return std::move(outcome).take();
}

Result<void> check(const cni::Request& request) {
  const FirewallConfig config = TRY(parseFirewallConfig(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  const Forwarded plan = TRY(planForward(config, result));
  if (!config.enabled) return {};
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  return hostfw::checkForward(nft, ownerOf(request), plan.addresses, plan.options);
}

Result<void> gc(const cni::Request& request) {
  if (!request.validAttachments) return {};
  const std::set<Attachment> valid(request.validAttachments->begin(),
                                   request.validAttachments->end());
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  return hostfw::collectForward(nft, request.network, valid);
}

Result<void> status(const cni::Request& request) {
  const FirewallConfig config = TRY(parseFirewallConfig(request));
  if (!config.enabled) return {};
  auto nft = nft::Connection::openBriefly();
  const auto generation = nft ? nft->generation() : Result<nft::Generation>(nft.error());
  if (generation) return {};
  return makeError(Errc::kNotAvailable, "nf_tables cannot be used: " + generation.error().message);
}

}  // namespace

const cni::Plugin kFirewall{.name = "firewall",
                            .oldest = cni::Version::k040,
                            .add = add,
                            .del = del,
                            .check = check,
                            .gc = gc,
                            .status = status};

}  // namespace culvert::plugins
