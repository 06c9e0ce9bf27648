#include "plugins/shared/sandbox.h"

#include <set>

#include "cni/config_reader.h"
#include "ipam/delegate.h"

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::Rtnl;

Result<void> refuseLink(const Result<Link>& found, const std::string& name) {
  if (found) {
    return makeError(Errc::kAlreadyExists, "container veth name (\"" + name + "\") already exists",
                     "this attachment was added before; DEL it first");
  }
  if (found.error().code != Errc::kNotFound) return found.error();
  return {};
}

Result<void> removeContainerEnd(const cni::Request& request) {
  std::optional<Sandbox> sandbox = Sandbox::openIfPresent(request);
  if (!sandbox) return {};
  const auto link = sandbox->rtnl.findLink(request.ifName);
  if (!link) return ignoreNotFound(link);
  if (link->kind != "veth") {
    return makeError(Errc::kInvalidConfig,
                     "'" + request.ifName + "' in the container is no veth but " +
                         (link->kind.empty() ? "a device" : "a " + link->kind) + ": not removed");
  }
  return ignoreNotFound(sandbox->rtnl.removeLink(link->index));
}

std::string ipamType(const cni::Request& request) {
  cni::Problems ignored;
  const cni::ConfigReader reader(*request.config, "", ignored);
  return reader.object("ipam").string("type");
}

}  // namespace

hostfw::Owner ownerOf(const cni::Request& request) {
  return {.network = request.network, .containerId = request.containerId, .ifName = request.ifName};
}

hostfw::Owner networkOwner(const std::string& network) {
  return {.network = network, .containerId = "", .ifName = ""};
}

Result<Sandbox> Sandbox::open(const cni::Request& request) {
  auto ns = NetNs::open(request.netnsPath);
  if (!ns) {
    return makeError(Errc::kInvalidEnvironment, "CNI_NETNS: " + ns.error().message,
                     ns.error().details);
  }
  Rtnl rtnl = TRY(Rtnl::openIn(*ns));
  return Sandbox{std::move(*ns), std::move(rtnl)};
}

std::optional<Sandbox> Sandbox::openIfPresent(const cni::Request& request) {
  if (request.netnsPath.empty()) return std::nullopt;
  auto sandbox = open(request);
  if (!sandbox) return std::nullopt;
  return std::move(*sandbox);
}

Result<void> refuseExisting(Sandbox& sandbox, Rtnl& host, const cni::Request& request) {
  TRY(refuseLink(sandbox.rtnl.findLink(request.ifName), request.ifName));
  return refuseLink(host.findLink(hostfw::hostVethName(ownerOf(request))), request.ifName);
}

Result<void> removeVeth(const cni::Request& request) {
  Rtnl host = TRY(Rtnl::open());
  const auto link = host.findLink(hostfw::hostVethName(ownerOf(request)));
  if (link) return ignoreNotFound(host.removeLinkDetached(link->index));
  if (link.error().code != Errc::kNotFound) return link.error();
  return removeContainerEnd(request);
}

bool releaseNeedsLink(const cni::Request& request) {
  const std::string type = ipamType(request);
  return !type.empty() && ipam::needsLink(type);
}

Result<void> releaseAddresses(const cni::Request& request) {
  const std::string type = ipamType(request);
  if (type.empty()) return {};
  const ipam::Delegate ipam = TRY(ipam::Delegate::find(type, request));
  return ipam.del(request);
}

Result<void> collectLinks(Rtnl& host, const cni::Request& request, std::string_view kind) {
  std::set<std::string> valid;
  for (const cni::Attachment& attachment : *request.validAttachments) {
    valid.insert(
        hostfw::ownerHash({request.network, attachment.containerId, attachment.ifName}).attachment);
  }
  const hostfw::OwnerHash network = hostfw::ownerHash(networkOwner(request.network));
  std::vector<netlink::IfIndex> stale;
  for (const Link& link : TRY(host.listLinks())) {
    const auto owner = hostfw::parseLinkAlias(link.alias);
    if (link.kind != kind || !owner || owner->network != network.network ||
        owner->attachment == network.attachment)
      continue;
    if (!valid.contains(owner->attachment)) stale.push_back(link.index);
  }
  return host.removeLinks(stale);
}

}  // namespace culvert::plugins
