#pragma once

#include <optional>
#include <string>

#include "base/netns.h"
#include "cni/plugin.h"
#include "hostfw/owner.h"
#include "netlink/rtnl.h"

namespace culvert::plugins {

/// The request's attachment as the owner of what is put on the host.
hostfw::Owner ownerOf(const cni::Request& request);
/// The network itself as an owner: of its bridge, which belongs to no single attachment.
hostfw::Owner networkOwner(const std::string& network);

/// The container's network namespace and a netlink socket inside it.
struct Sandbox {
  NetNs ns;
  netlink::Rtnl rtnl;

  /// CNI_NETNS must be a network namespace: kInvalidEnvironment (code 4) otherwise.
  static Result<Sandbox> open(const cni::Request& request);
  /// For DEL: nothing if the namespace is gone, is no namespace, or was not named.
  static std::optional<Sandbox> openIfPresent(const cni::Request& request);
};

/// Refuses an ADD whose attachment exists already (kAlreadyExists), before anything is touched:
/// undoing a second ADD would otherwise tear down the first.
Result<void> refuseExisting(Sandbox& sandbox, netlink::Rtnl& host, const cni::Request& request);

/// Removes the attachment's veth pair by the host end's name, which follows from the request
/// alone; failing that, by the container's end (pairs that the reference plugins made). Success if
/// there is neither.
Result<void> removeVeth(const cni::Request& request);

/// DEL of the IPAM plugin that the configuration names, if it names one. Nothing else of the
/// configuration matters: what was added is removed even after it became invalid.
Result<void> releaseAddresses(const cni::Request& request);

/// Whether releaseAddresses() must come before the link is removed (ipam::needsLink()). Otherwise
/// it comes after: an address must not be given to somebody else while it still answers here.
bool releaseNeedsLink(const cni::Request& request);

/// GC: removes the links of `kind` (IFLA_INFO_KIND) that are `request.network`'s and whose
/// attachment is not valid any more. All of them go in one operation of the kernel.
Result<void> collectLinks(netlink::Rtnl& host, const cni::Request& request, std::string_view kind);

}  // namespace culvert::plugins
