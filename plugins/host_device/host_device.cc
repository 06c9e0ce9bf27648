#include "plugins/host_device/host_device.h"

#include <nlohmann/json.hpp>

#include "cni/rollback.h"
#include "ipam/delegate.h"
#include "plugins/host_device/config.h"
#include "plugins/host_device/find.h"
#include "plugins/host_device/move.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/record.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::Rtnl;

constexpr char kPlugin[] = "host-device";

Result<std::optional<ipam::Delegate>> findIpam(const cni::Request& request,
                                               const HostDeviceConfig& config) {
  if (config.ipamType.empty()) return std::optional<ipam::Delegate>();
  ipam::Delegate found = TRY(ipam::Delegate::find(config.ipamType, request));
  return std::optional<ipam::Delegate>(std::move(found));
}

Result<cni::AddResult> allocate(const cni::Request& request, const HostDeviceConfig& config,
                                const std::optional<ipam::Delegate>& ipam,
                                cni::Rollback& rollback) {
  if (!ipam) return cni::AddResult();
  cni::AddResult result = TRY(ipam->add(request));
  rollback.onFailure("release addresses", [&ipam, &request] { return ipam->del(request); });
  if (result.ips.empty())
    return makeError(Errc::kInvalidConfig, "IPAM plugin returned missing IP config");
  for (cni::IpConfig& ip : result.ips)
    ip.interface = 0;
  result.dns = config.dns;
  return result;
}

Result<void> refuseTaken(Sandbox& sandbox, const std::string& name) {
  const auto found = sandbox.rtnl.findLink(name);
  if (!found) return ignoreNotFound(found);
  return makeError(Errc::kAlreadyExists, "'" + name + "' already exists in the container",
                   "this attachment was added before, or the name is taken; DEL it first");
}

cni::Interface describe(const std::string& name, const cni::Request& request) {
  return {.name = name,
          .mac = "",
          .mtuBytes = {},
          .sandbox = request.netnsPath,
          .socketPath = {},
          .pciId = {}};
}

/// A program in user space drives the device: addresses are only reserved.
Result<cni::AddResult> addUserspace(const cni::Request& request, const HostDeviceConfig& config,
                                    const std::optional<ipam::Delegate>& ipam) {
  cni::Rollback rollback;
  cni::AddResult result = TRY(allocate(request, config, ipam, rollback));
  rollback.dismiss();
  result.interfaces = {describe(request.ifName, request)};
  result.interfaces.front().pciId = config.pciId;
  return appendTo(request.prevResult, std::move(result));
}

Result<void> takeBack(const cni::Request& request) {
  const auto record = TRY(findRecord(request, kPlugin));
  if (!record) return {};
  TRY(bringHome(*record, false));
  return removeRecord(*record);
}

/// The record comes first, and says once it is so that the device has been moved.
Result<Link> take(const cni::Request& request, Sandbox& sandbox, Rtnl& host, const Link& device,
                  cni::Rollback& rollback) {
  DeviceHome home = DeviceHome::of(device);
  rollback.onFailure("bring the device home", [&request] { return takeBack(request); });
  TRY(writeRecord(request, kPlugin, home.json()));
  Link inside = TRY(moveIn(sandbox, host, device, request.ifName)
                        .context("move '" + device.name + "' into the container"));
  home.moved = true;
  TRY(writeRecord(request, kPlugin, home.json()));
  return inside;
}

Result<void> configure(Sandbox& sandbox, const Link& link, const cni::AddResult& result) {
  netlink::InterfaceSetup setup{
      .link = link.index, .addresses = {}, .routes = plannedRoutes(result)};
  for (const cni::IpConfig& ip : result.ips)
    setup.addresses.push_back({.prefix = ip.address});
  return configureContainer(sandbox, std::move(setup), result, {})
      .context("configure '" + link.name + "'");
}

Result<cni::AddResult> add(const cni::Request& request) {
  const HostDeviceConfig config = TRY(parseHostDeviceConfig(request));
  const auto ipam = TRY(findIpam(request, config));
  Sandbox sandbox = TRY(Sandbox::open(request));
  if (TRY(isUserspaceDevice(config))) return addUserspace(request, config, ipam);
  Rtnl host = TRY(Rtnl::open());
  TRY(refuseTaken(sandbox, request.ifName));
  const Link device = TRY(findDevice(host, config));

  cni::Rollback rollback;
  const bool linkFirst = ipam && ipam->needsLink();
  cni::AddResult result;
  if (!linkFirst) result = TRY(allocate(request, config, ipam, rollback));
  const Link link = TRY(take(request, sandbox, host, device, rollback));
  if (linkFirst) result = TRY(allocate(request, config, ipam, rollback));
  TRY(configure(sandbox, link, result));
  rollback.dismiss();
  cni::Interface inside = describe(link.name, request);
  inside.mac = link.mac ? link.mac->text() : "";
  inside.mtuBytes = link.mtuBytes;
  inside.pciId = config.pciId;
  result.interfaces = {inside};
  return appendTo(request.prevResult, std::move(result));
}

/// Of hardware that is nowhere the record stays until GC: its namespace may live on in a process,
/// and then it comes home later.
Result<void> bringHomeAndForget(const Record& record) {
  const auto home = DeviceHome::from(record);
  const bool found = TRY(bringHome(record, true));
  if (!found && home && home->kind.empty() && home->moved) return {};
  return removeRecord(record);
}

/// Addresses are released before the namespace is touched, whatever became of it.
Result<void> del(const cni::Request& request) {
  FirstError outcome;
  outcome.note(releaseAddresses(request));
  const auto record = findRecord(request, kPlugin);
  if (record && *record) {
    outcome.note(bringHomeAndForget(**record));
  } else {  // none, or a damaged one: the alias may still tell
    outcome.note(bringHomeByAlias(request));
    outcome.note(removeRecord(request, kPlugin));
  }
  return std::move(outcome).take();
}

Result<void> check(const cni::Request& request) {
  const HostDeviceConfig config = TRY(parseHostDeviceConfig(request));
  if (const auto ipam = TRY(findIpam(request, config))) TRY(ipam->check(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  const auto userspace = isUserspaceDevice(config);
  if (userspace && *userspace) return {};
  Sandbox sandbox = TRY(Sandbox::open(request));
  const auto found = sandbox.rtnl.findLink(request.ifName);
  const auto record = TRY(findRecord(request, kPlugin));
  const auto home = record ? DeviceHome::from(*record) : std::nullopt;
  const std::string kind = home ? home->kind : (found ? found->kind : "");
  const Link link = TRY(verifyContainerLink(sandbox, request, kind, true));
  if (home && (home->permanentMac != link.permanentMac || home->parentDevice != link.parentDevice))
    return makeError(Errc::kCheckFailed,
                     "'" + link.name + "' is another device than '" + home->name + "' was");
  return verifyLayer3(sandbox, link, result);
}

Result<void> gc(const cni::Request& request) {
  const HostDeviceConfig config = TRY(parseHostDeviceConfig(request));
  FirstError outcome;
  const auto ipam = findIpam(request, config);
  if (!ipam) outcome.note(ipam.error());
  if (ipam && *ipam) outcome.note((*ipam)->gc(request));
  if (!request.validAttachments) return std::move(outcome).take();
  for (const Record& record : TRY(listStaleRecords(request, kPlugin))) {
    const auto home = bringHome(record, false);
    outcome.note(home ? removeRecord(record) : Result<void>(home.error()));
  }
  return std::move(outcome).take();
}

Result<void> status(const cni::Request& request) {
  const HostDeviceConfig config = TRY(parseHostDeviceConfig(request));
  if (const auto ipam = TRY(findIpam(request, config))) TRY(ipam->status(request));
  if (!config.hasSelector()) return {};  // each container's runtimeConfig says which
  Rtnl host = TRY(Rtnl::open());
  const auto userspace = isUserspaceDevice(config);
  if (userspace && *userspace) return {};
  const auto device = userspace ? findDevice(host, config) : Result<Link>(userspace.error());
  if (device) return {};
  return makeError(Errc::kNotAvailable, device.error().message, device.error().details);
}

}  // namespace

const cni::Plugin kHostDevice{.name = kPlugin,
                              .oldest = cni::Version::k010,
                              .add = add,
                              .del = del,
                              .check = check,
                              .gc = gc,
                              .status = status};

}  // namespace culvert::plugins
