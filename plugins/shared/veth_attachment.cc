#include "plugins/shared/veth_attachment.h"

#include "plugins/shared/firewall.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {

Result<void> removeAttachment(const cni::Request& request) {
  FirstError outcome;
  auto nft = nft::Connection::open();
  if (!nft) outcome.note(nft.error());
  // The child that sees the link off also holds what would make us wait when we close it.
  const auto held = nft ? nft->descriptors() : Result<std::vector<int>>(std::vector<int>());
  outcome.note(removeVeth(request, held.value_or(std::vector<int>())));
  outcome.note(releaseAddresses(request));
  if (nft) outcome.note(removeHostFirewall(*nft, request));
  return std::move(outcome).take();
}

Result<void> undoHostFirewall(const cni::Request& request) {
  nft::Connection nft = TRY(nft::Connection::open());
  return removeHostFirewall(nft, request);
}

}  // namespace culvert::plugins
