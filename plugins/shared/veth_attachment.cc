#include "plugins/shared/veth_attachment.h"

#include "ipam/delegate.h"
#include "plugins/shared/firewall.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {

Result<void> removeAttachment(const cni::Request& request) {
  FirstError outcome;
  auto nft = nft::Connection::openBriefly();
  if (!nft) outcome.note(nft.error());
  const bool releaseFirst = releaseNeedsLink(request);
  if (releaseFirst) outcome.note(releaseAddresses(request));
  outcome.note(removeVeth(request));
  if (!releaseFirst) outcome.note(releaseAddresses(request));
  if (nft) outcome.note(removeHostFirewall(*nft, request));
  return std::move(outcome).take();
}

Result<void> collectAttachments(const cni::Request& request, const std::string& ipamType) {
  FirstError outcome;
  if (!ipamType.empty()) {
    const auto ipam = ipam::Delegate::find(ipamType, request);
    outcome.note(ipam ? ipam->gc(request) : Result<void>(ipam.error()));
  }
  if (!request.validAttachments) return std::move(outcome).take();
  netlink::Rtnl host = TRY(netlink::Rtnl::open());
  outcome.note(collectLinks(host, request, "veth"));
  outcome.note(collectHostFirewall(request));
  return std::move(outcome).take();
}

Result<void> undoHostFirewall(const cni::Request& request) {
  nft::Connection nft = TRY(nft::Connection::openBriefly());
  return removeHostFirewall(nft, request);
}

}  // namespace culvert::plugins
