#include "plugins/shared/container_link.h"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "cni/args.h"
#include "cni/common_config.h"
#include "cni/rollback.h"
#include "hostfw/owner.h"
#include "ipam/delegate.h"
#include "plugins/shared/config.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/record.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::Link;
using netlink::Rtnl;

Result<void> refuseTaken(Sandbox& sandbox, const std::string& name) {
  const auto found = sandbox.rtnl.findLink(name);
  if (!found) return ignoreNotFound(found);
  return makeError(Errc::kAlreadyExists, "'" + name + "' already exists in the container",
                   "this attachment was added before, or the name is taken; DEL it first");
}

Result<std::optional<ipam::Delegate>> findIpam(const cni::Request& request,
                                               const ContainerLinkConfig& config) {
  if (config.ipamType.empty()) return std::optional<ipam::Delegate>();
  ipam::Delegate found = TRY(ipam::Delegate::find(config.ipamType, request));
  return std::optional<ipam::Delegate>(std::move(found));
}

Rtnl& sideOf(const MasterConfig& master, Place& place) {
  return master.inContainer ? place.sandbox.rtnl : place.host;
}

Result<Link> defaultRouteLink(Rtnl& rtnl) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const netlink::RouteSpec& route : TRY(rtnl.listRoutes(family, RT_TABLE_MAIN))) {
      if (route.dst.isDefault() && route.type == RTN_UNICAST && route.link != IfIndex::kNone)
        return rtnl.findLink(route.link);
    }
  }
  return makeError(Errc::kNotFound, "there is no default route whose interface could be used");
}

Result<Link> findMaster(Rtnl& rtnl, const MasterConfig& master) {
  if (master.name.empty()) return defaultRouteLink(rtnl).context("no master is configured");
  return rtnl.findLink(master.name).context("master '" + master.name + "'");
}

Result<void> refuseMtu(std::uint32_t mtuBytes, const Link& master) {
  if (mtuBytes <= master.mtuBytes) return {};
  return makeError(Errc::kInvalidConfig, "mtu: " + std::to_string(mtuBytes) + " is greater than " +
                                             std::to_string(master.mtuBytes) +
                                             ", the MTU of master '" + master.name + "'");
}

Result<void> createBesideHost(Rtnl& rtnl, netlink::LinkSpec& spec, const cni::Request& request) {
  auto made = rtnl.createLink(spec);
  if (made || made.error().code != Errc::kAlreadyExists || spec.ns == nullptr) return made;
  spec.name = temporaryName(request);  // the host's name may have been in the way
  return rtnl.createLink(spec);
}

Result<Link> createFrom(Place& place, Rtnl& rtnl, netlink::LinkSpec spec,
                        const cni::Request& request) {
  spec.name = request.ifName;
  if (&rtnl != &place.sandbox.rtnl) spec.ns = &place.sandbox.ns;
  TRY(createBesideHost(rtnl, spec, request));
  return place.sandbox.rtnl.findLink(spec.name);
}

/// Its final name and its owner, and what creation did not take: a passthru macvlan begins with its
/// master's MAC, a tap with the kernel's choice of everything.
Result<Link> complete(Rtnl& inside, const Link& made, const cni::Request& request,
                      const ContainerLinkConfig& config) {
  netlink::LinkChange change;
  change.name = request.ifName;
  change.alias = hostfw::linkAlias(ownerOf(request));
  if (made.mac != config.mac) change.mac = config.mac;
  if (config.mtuBytes != 0 && made.mtuBytes != config.mtuBytes) change.mtuBytes = config.mtuBytes;
  TRY(inside.changeLink(made.index, change));
  return inside.findLink(made.index);
}

/// IPAM's answer, or the addresses given, as the whole result but for the interface.
Result<cni::AddResult> allocate(const cni::Request& request, const ContainerLinkConfig& config,
                                const std::optional<ipam::Delegate>& ipam,
                                cni::Rollback& rollback) {
  cni::AddResult result = config.given.value_or(cni::AddResult());
  if (ipam) {
    result = TRY(ipam->add(request));
    rollback.onFailure("release addresses", [&ipam, &request] { return ipam->del(request); });
    if (result.ips.empty())
      return makeError(Errc::kInvalidConfig, "IPAM plugin returned missing IP config");
  }
  for (cni::IpConfig& ip : result.ips)
    ip.interface = 0;
  if (config.dns) result.dns = *config.dns;
  return result;
}

Result<void> configureInside(Sandbox& sandbox, IfIndex link, const ContainerLinkConfig& config,
                             const cni::AddResult& result) {
  netlink::InterfaceSetup setup{.link = link, .addresses = {}, .routes = plannedRoutes(result)};
  for (const cni::IpConfig& ip : result.ips)
    setup.addresses.push_back({.prefix = ip.address});
  return configureContainer(sandbox, std::move(setup), result,
                            {.arpNotify = config.announce, .neighbourNotify = config.announce});
}

cni::Interface describe(const Link& link, const std::string& sandbox) {
  return {.name = link.name,
          .mac = link.mac ? link.mac->text() : "",
          .mtuBytes = link.mtuBytes,
          .sandbox = sandbox,
          .socketPath = {},
          .pciId = {}};
}

/// Whether DEL may remove it: of the right kind, and ours by its owner, whatever it is called now.
/// Links that the reference plugins made, or that a kill left half made, have no owner but a name.
bool isOwn(const Link& link, const cni::Request& request, const ContainerLinkType& type) {
  if (link.kind != type.kind) return false;
  const auto owner = hostfw::parseLinkAlias(link.alias);
  if (owner) return *owner == hostfw::ownerHash(ownerOf(request));
  return link.name == request.ifName || link.name == temporaryName(request);
}

/// The container's namespace as the request or else the record knows it.
Result<std::optional<Sandbox>> findSandbox(const cni::Request& request,
                                           const ContainerLinkType& type) {
  if (auto named = Sandbox::openIfPresent(request)) return named;
  const auto record = findRecord(request, type.plugin);
  if (!record && record.error().code != Errc::kDecode) return record.error();
  if (!record || !*record) return std::optional<Sandbox>();  // a damaged one leads nowhere
  return Sandbox::openIfPresent(requestFor(request, **record));
}

Result<void> removeOwnLink(const cni::Request& request, const ContainerLinkType& type) {
  std::optional<Sandbox> sandbox = TRY(findSandbox(request, type));
  if (!sandbox) return {};
  FirstError outcome;
  for (const Link& link : TRY(sandbox->rtnl.listLinks())) {
    if (!isOwn(link, request, type)) continue;
    outcome.note(ignoreNotFound(
        sandbox->ns.run([&] { return sandbox->rtnl.removeLinkDetached(link.index); })));
  }
  return std::move(outcome).take();
}

/// The link, then the record that would lead to it.
Result<void> removeLinkAndRecord(const cni::Request& request, const ContainerLinkType& type) {
  TRY(removeOwnLink(request, type));
  return removeRecord(request, type.plugin);
}

Result<void> collectLinks(const cni::Request& request, const ContainerLinkType& type) {
  if (!request.validAttachments) return {};
  FirstError outcome;
  for (const Record& record : TRY(listStaleRecords(request, type.plugin)))
    outcome.note(removeLinkAndRecord(requestFor(request, record), type));
  return std::move(outcome).take();
}

Result<void> verifyMaster(Place& place, const MasterConfig& master, const Link& link) {
  if (master.name.empty()) return {};  // the default route may have moved: that is not our state
  const auto found = findMaster(sideOf(master, place), master);
  if (!found) return makeError(Errc::kCheckFailed, found.error().message);
  if (link.peer == found->index) return {};
  return makeError(Errc::kCheckFailed,
                   "'" + link.name + "' does not lie on master '" + master.name + "'");
}

Result<Place> openPlace(const cni::Request& request) {
  Sandbox sandbox = TRY(Sandbox::open(request));
  Rtnl host = TRY(Rtnl::open());
  return Place{std::move(sandbox), std::move(host)};
}

Error notAvailable(const Error& cause) {
  return makeError(Errc::kNotAvailable, cause.message, cause.details);
}

}  // namespace

std::string temporaryName(const cni::Request& request) {
  return hostfw::hostVethName(ownerOf(request));
}

ContainerLinkConfig readContainerLink(const cni::ConfigReader& reader) {
  ContainerLinkConfig config;
  config.ipamType = reader.object("ipam").string("type");
  config.dns = cni::readDns(reader, "dns").value_or(cni::Dns());
  config.mtuBytes = readMtu(reader);
  return config;
}

MasterConfig readMaster(const cni::ConfigReader& reader) {
  return {.name = readInterfaceName(reader, "master", ""),
          .inContainer = reader.boolean("linkInContainer")};
}

Result<std::optional<MacAddress>> readOwnMac(const cni::ConfigReader& reader,
                                             const cni::Request& request) {
  const auto configured = reader.mac("mac");
  const auto given = readMac(reader, TRY(cni::parseArgs(request.args, {"MAC"})));
  return given ? given : configured;
}

Result<cni::AddResult> addContainerLink(const cni::Request& request, const ContainerLinkType& type,
                                        const ContainerLinkConfig& config,
                                        const PrepareLink& prepare) {
  const std::optional<ipam::Delegate> ipam = TRY(findIpam(request, config));
  Place place = TRY(openPlace(request));
  TRY(refuseTaken(place.sandbox, request.ifName));
  const CreateLink create = TRY(prepare(place));

  cni::Rollback rollback;
  const bool linkFirst = ipam && ipam->needsLink();
  cni::AddResult result;
  if (!linkFirst) result = TRY(allocate(request, config, ipam, rollback));
  rollback.onFailure("remove record", [&] { return removeRecord(request, type.plugin); });
  TRY(writeRecord(request, type.plugin));
  const Link made = TRY(create(place));
  rollback.onFailure("remove link", [&] { return removeOwnLink(request, type); });
  const Link link = TRY(complete(place.sandbox.rtnl, made, request, config));
  if (linkFirst) result = TRY(allocate(request, config, ipam, rollback));
  TRY(configureInside(place.sandbox, link.index, config, result)
          .context("configure '" + request.ifName + "'"));

  rollback.dismiss();
  result.interfaces = {describe(link, request.netnsPath)};
  return config.given ? result : appendTo(request.prevResult, std::move(result));
}

Result<cni::AddResult> addContainerLink(const cni::Request& request, const ContainerLinkType& type,
                                        const ContainerLinkConfig& config,
                                        const netlink::LinkKind& kind) {
  return addContainerLink(request, type, config, [&](Place& place) -> Result<CreateLink> {
    netlink::LinkSpec spec{
        .name = {}, .kind = kind, .mac = config.mac, .mtuBytes = config.mtuBytes};
    if (!config.master)
      return CreateLink(
          [=, &request](Place& at) { return createFrom(at, at.sandbox.rtnl, spec, request); });
    const Link master = TRY(findMaster(sideOf(*config.master, place), *config.master));
    TRY(refuseMtu(config.mtuBytes, master));
    spec.lower = master.index;
    return CreateLink([=, &request, &config](Place& at) {
      return createFrom(at, sideOf(*config.master, at), spec, request);
    });
  });
}

Result<void> removeContainerLink(const cni::Request& request, const ContainerLinkType& type) {
  FirstError outcome;
  const bool releaseFirst = releaseNeedsLink(request);
  if (releaseFirst) outcome.note(releaseAddresses(request));
  outcome.note(removeLinkAndRecord(request, type));
  if (!releaseFirst) outcome.note(releaseAddresses(request));
  return std::move(outcome).take();
}

Result<Link> checkContainerLink(const cni::Request& request, const ContainerLinkType& type,
                                const ContainerLinkConfig& config) {
  if (const auto ipam = TRY(findIpam(request, config))) TRY(ipam->check(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  Place place = TRY(openPlace(request));
  const Link link = TRY(verifyContainerLink(place.sandbox, request, std::string(type.kind), true));
  if (config.master) TRY(verifyMaster(place, *config.master, link));
  if (config.mtuBytes != 0 && link.mtuBytes != config.mtuBytes) {
    return makeError(Errc::kCheckFailed, "'" + link.name + "' has MTU " +
                                             std::to_string(link.mtuBytes) + ", not " +
                                             std::to_string(config.mtuBytes));
  }
  TRY(verifyLayer3(place.sandbox, link, result));
  return link;
}

Result<void> collectContainerLinks(const cni::Request& request, const ContainerLinkType& type,
                                   const ContainerLinkConfig& config) {
  FirstError outcome;
  const auto ipam = findIpam(request, config);
  if (!ipam) outcome.note(ipam.error());
  const bool releaseFirst = ipam && *ipam && (*ipam)->needsLink();
  if (releaseFirst) outcome.note((*ipam)->gc(request));
  outcome.note(collectLinks(request, type));
  if (ipam && *ipam && !releaseFirst) outcome.note((*ipam)->gc(request));
  return std::move(outcome).take();
}

Result<void> containerLinkStatus(const cni::Request& request, const ContainerLinkConfig& config) {
  if (const auto ipam = TRY(findIpam(request, config))) TRY(ipam->status(request));
  if (!config.master || config.master->inContainer) return {};
  Rtnl host = TRY(Rtnl::open());
  const auto master = findMaster(host, *config.master);
  if (!master) return notAvailable(master.error());
  if (master->isUp()) return {};
  return makeError(Errc::kLimited, "master '" + master->name + "' is down");
}

Result<void> containerLinkStatus(const cni::Request& request, const ContainerLinkConfig& config,
                                 const netlink::LinkKind& kind) {
  Rtnl host = TRY(Rtnl::open());
  if (!TRY(host.knowsLinkKind(kind)))
    return makeError(Errc::kNotAvailable, "this kernel has no links of this kind");
  return containerLinkStatus(request, config);
}

}  // namespace culvert::plugins
