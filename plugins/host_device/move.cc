#include "plugins/host_device/move.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "cni/environment.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::Link;
using netlink::Rtnl;

/// The kernel empties a namespace some milliseconds after its last user has gone.
constexpr std::chrono::seconds kHomecomingTimeout{2};

bool hasMarks(const DeviceHome& home, const Link& link) {
  return home.kind == link.kind && home.parentDevice == link.parentDevice;
}

/// Hardware is recognised by its own address and its place in the machine.
bool isSameHardware(const DeviceHome& home, const Link& link) {
  return hasMarks(home, link) && home.permanentMac && home.permanentMac == link.permanentMac;
}

bool isMoved(const DeviceHome& home, const Link& link, const std::string& ifName) {
  if (!home.moved && link.name != ifName && link.name != home.name) return false;
  return isSameHardware(home, link) || (hasMarks(home, link) && link.alias == home.name);
}

/// Or the one that is home already: a DEL was killed before it had restored all.
bool isAtHome(const DeviceHome& home, const Link& link) {
  if (isSameHardware(home, link)) return true;
  const bool back = link.name == home.name && link.mac == home.mac;
  return hasMarks(home, link) && (link.alias == home.name || back);
}

template <class Matches>
Result<std::optional<Link>> findMatching(Rtnl& rtnl, Matches matches) {
  for (Link& link : TRY(rtnl.listLinks())) {
    if (matches(link)) return std::optional(std::move(link));
  }
  return std::optional<Link>();
}

Result<void> refuseTakenName(Rtnl& host, const std::string& name, const std::string& where) {
  const auto taken = host.findLink(name);
  if (!taken) return ignoreNotFound(taken);
  return makeError(Errc::kAlreadyExists,
                   "the host has another interface '" + name + "': the device stays " + where,
                   "rename or remove that interface; the next DEL brings the device home");
}

/// One message moves and names; the kernel moves first, so if it then refuses the name the device
/// must go back.
Result<void> moveLink(Rtnl& from, const NetNs& fromNs, Rtnl& to, const NetNs& toNs,
                      const Link& link, const std::string& name, const std::string& alias) {
  const auto moved = from.changeLink(link.index, {.ns = &toNs, .name = name, .alias = alias});
  if (moved || from.findLink(link.index)) return moved;
  const auto stray = to.findLink(link.name);
  if (stray && stray->kind == link.kind && stray->permanentMac == link.permanentMac)
    static_cast<void>(to.changeLink(stray->index, {.ns = &fromNs, .name = link.name}));
  return moved;
}

/// What moving does not keep, or what was changed in the container.
Result<void> restore(Rtnl& host, const Link& link, const DeviceHome& home) {
  netlink::LinkChange change;
  if (home.mac && home.mac != link.mac) change.mac = home.mac;
  if (home.mtuBytes != 0 && home.mtuBytes != link.mtuBytes) change.mtuBytes = home.mtuBytes;
  if (home.up && !link.isUp()) change.up = true;
  if (!change.mac && !change.mtuBytes && !change.up) return {};
  return host.changeLink(link.index, change).context("restore '" + link.name + "'");
}

Result<void> bringOut(Sandbox& sandbox, Rtnl& host, const Link& link, const DeviceHome& home) {
  TRY(refuseTakenName(host, home.name, "in the container, as '" + link.name + "'"));
  const NetNs here = TRY(NetNs::current());
  const auto moved = moveLink(sandbox.rtnl, sandbox.ns, host, here, link, home.name, home.alias);
  if (!moved) {
    // The kernel sets a device down to move it, even if the move then fails.
    if (link.isUp()) static_cast<void>(sandbox.rtnl.setUp(link.index));
    return moved;
  }
  return restore(host, TRY(host.findLink(home.name)), home);
}

/// The kernel gave it a name of its own if the container's was taken ("dev%d").
Result<void> renameAtHome(Rtnl& host, Link link, const DeviceHome& home) {
  if (link.name != home.name) {
    TRY(refuseTakenName(host, home.name, "on the host, as '" + link.name + "'"));
    if (link.isUp()) TRY(host.setDown(link.index));
    link.flags = 0;
    TRY(host.changeLink(link.index, {.name = home.name, .alias = home.alias}));
  } else if (link.alias != home.alias) {
    TRY(host.changeLink(link.index, {.alias = home.alias}));
  }
  return restore(host, link, home);
}

/// The device on the host, once it is there; virtual ones end with their namespace.
Result<std::optional<Link>> awaitAtHome(Rtnl& host, const DeviceHome& home, bool wait) {
  netlink::Socket events = TRY(netlink::Socket::open(NETLINK_ROUTE));
  TRY(events.subscribe(RTNLGRP_LINK));
  const auto deadline = std::chrono::steady_clock::now() + kHomecomingTimeout;
  for (;;) {
    auto link = TRY(findMatching(host, [&](const Link& one) { return isAtHome(home, one); }));
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (link || !wait || !home.kind.empty() || left.count() <= 0) return link;
    static_cast<void>(events.receiveEvents(static_cast<int>(left.count())));
  }
}

bool isInterfaceName(const std::string& name) {
  return !name.empty() && !cni::interfaceNameProblem(name);
}

}  // namespace

DeviceHome DeviceHome::of(const Link& link) {
  return {.name = link.name,
          .alias = link.alias,
          .kind = link.kind,
          .parentDevice = link.parentDevice,
          .permanentMac = link.permanentMac,
          .mac = link.mac,
          .mtuBytes = link.mtuBytes,
          .up = link.isUp()};
}

nlohmann::json DeviceHome::json() const {
  return {{"name", name},
          {"alias", alias},
          {"kind", kind},
          {"parentDevice", parentDevice},
          {"permanentMac", permanentMac ? permanentMac->text() : ""},
          {"mac", mac ? mac->text() : ""},
          {"mtu", mtuBytes},
          {"up", up},
          {"moved", moved}};
}

std::optional<DeviceHome> DeviceHome::from(const Record& record) {
  cni::Problems problems;
  const cni::ConfigReader reader(record.details, "", problems);
  DeviceHome home{
      .name = reader.string("name"),
      .alias = reader.string("alias"),
      .kind = reader.string("kind"),
      .parentDevice = reader.string("parentDevice"),
      .permanentMac = MacAddress::parse(reader.string("permanentMac")),
      .mac = MacAddress::parse(reader.string("mac")),
      .mtuBytes = static_cast<std::uint32_t>(reader.integer("mtu", 0, UINT32_MAX).value_or(0)),
      .up = reader.boolean("up"),
      .moved = reader.boolean("moved")};
  if (!problems.take() || !isInterfaceName(home.name)) return std::nullopt;
  return home;
}

Result<Link> moveIn(Sandbox& sandbox, Rtnl& host, const Link& device, const std::string& ifName) {
  const NetNs here = TRY(NetNs::current());
  const auto moved = moveLink(host, here, sandbox.rtnl, sandbox.ns, device, ifName, device.name);
  if (!moved) {
    if (device.isUp()) {
      const auto back = host.findLink(device.name);
      if (back) static_cast<void>(host.setUp(back->index));
    }
    return moved.error();
  }
  return sandbox.rtnl.findLink(ifName);
}

Result<bool> bringHome(const Record& record, bool wait) {
  const auto home = DeviceHome::from(record);
  if (!home) return false;
  Rtnl host = TRY(Rtnl::open());
  auto ns = record.openNetns();
  if (ns) {
    Rtnl rtnl = TRY(Rtnl::openIn(*ns));
    Sandbox sandbox{std::move(*ns), std::move(rtnl)};
    const auto inside = TRY(findMatching(
        sandbox.rtnl, [&](const Link& link) { return isMoved(*home, link, record.ifName); }));
    if (inside) {
      TRY(bringOut(sandbox, host, *inside, *home));
      return true;
    }
  }
  const auto link = TRY(awaitAtHome(host, *home, wait && !ns));
  if (!link) return false;
  TRY(renameAtHome(host, *link, *home));
  return true;
}

Result<void> bringHomeByAlias(const cni::Request& request) {
  std::optional<Sandbox> sandbox = Sandbox::openIfPresent(request);
  Rtnl host = TRY(Rtnl::open());
  if (sandbox) {
    const auto link = sandbox->rtnl.findLink(request.ifName);
    if (!link || !isInterfaceName(link->alias)) return ignoreNotFound(link);
    DeviceHome home = DeviceHome::of(*link);
    home.name = link->alias;
    home.alias.clear();
    home.up = false;  // what it was nobody knows
    return bringOut(*sandbox, host, *link, home);
  }
  cni::Problems ignored;
  const std::string name = cni::ConfigReader(*request.config, "", ignored).string("device");
  if (!isInterfaceName(name) || host.findLink(name)) return {};
  const auto stray = TRY(findMatching(
      host, [&](const Link& link) { return link.kind.empty() && link.alias == name; }));
  if (!stray) return {};
  DeviceHome home = DeviceHome::of(*stray);
  home.name = name;
  home.alias.clear();
  return renameAtHome(host, *stray, home);
}

}  // namespace culvert::plugins
