#include "plugins/shared/firewall.h"

#include <algorithm>
#include <set>

#include "hostfw/masquerade.h"
#include "hostfw/reference_state.h"
#include "hostfw/spoof_check.h"
#include "netlink/nft.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

/// Sorted and without duplicates, as findMasquerade() lists them.
std::vector<IpPrefix> addressesOf(const cni::AddResult& result) {
  std::vector<IpPrefix> addresses;
  for (const cni::IpConfig& ip : result.ips)
    addresses.push_back(ip.address);
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

}  // namespace

Result<void> ensureHostFirewall(const cni::Request& request, const HostFirewall& wanted,
                                const cni::AddResult& result, const std::string& hostEnd,
                                const MacAddress& containerMac) {
  const bool masquerade = wanted.masquerade && !result.ips.empty();
  if (!masquerade && !wanted.spoofCheck) return {};
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  if (masquerade)
    TRY(hostfw::ensureMasquerade(nft, ownerOf(request), addressesOf(result)).context("ipMasq"));
  if (wanted.spoofCheck) {
    TRY(hostfw::ensureSpoofCheck(nft, ownerOf(request), hostEnd, containerMac)
            .context("macspoofchk"));
  }
  return {};
}

Result<void> removeHostFirewall(nft::Connection& nft, const cni::Request& request) {
  FirstError outcome;
  outcome.note(hostfw::removeMasquerade(nft, ownerOf(request)).context("remove masquerade"));
  outcome.note(
      hostfw::removeSpoofCheck(nft, ownerOf(request), hostfw::hostVethName(ownerOf(request)))
          .context("remove macspoofchk"));
  outcome.note(hostfw::removeReferenceInterface(nft, ownerOf(request)));
  return std::move(outcome).take();
}

Result<void> verifyHostFirewall(const cni::Request& request, const HostFirewall& wanted,
                                const cni::AddResult& result, const std::string& hostEnd,
                                const MacAddress& containerMac) {
  const bool masquerade = wanted.masquerade && !result.ips.empty();
  if (!masquerade && !wanted.spoofCheck) return {};
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  if (masquerade) {
    const std::vector<IpPrefix> have = TRY(hostfw::findMasquerade(nft, ownerOf(request)));
    for (const IpPrefix& address : addressesOf(result)) {
      if (std::find(have.begin(), have.end(), address) == have.end()) {
        return makeError(Errc::kCheckFailed, "ipMasq: " + address.text() + " is not masqueraded");
      }
    }
  }
  if (wanted.spoofCheck &&
      !TRY(hostfw::hasSpoofCheck(nft, ownerOf(request), hostEnd, containerMac))) {
    return makeError(Errc::kCheckFailed,
                     "macspoofchk: '" + hostEnd + "' is not limited to MAC " + containerMac.text());
  }
  return {};
}

Result<void> collectHostFirewall(const cni::Request& request) {
  const std::set<Attachment> valid(request.validAttachments->begin(),
                                   request.validAttachments->end());
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  FirstError outcome;
  const auto masquerades = hostfw::collectMasquerade(nft, request.network, valid);
  if (!masquerades) outcome.note(masquerades.error());
  const auto guards = hostfw::collectSpoofCheck(nft, request.network, valid);
  if (!guards) outcome.note(guards.error());
  outcome.note(hostfw::collectReferenceInterface(nft, request.network, valid));
  return std::move(outcome).take();
}

}  // namespace culvert::plugins
