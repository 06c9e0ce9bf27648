#include "daemons/routing/devices.h"

#include <algorithm>
#include <set>

#include "netlink/sysctl.h"

namespace culvert::routing {
namespace {

using netlink::IfIndex;
using netlink::Link;
using objects::Encapsulation;

constexpr Family kFamilies[] = {Family::kV4, Family::kV6};
constexpr const char* kAlias = "culvert routing";  // by which a device is known to be ours

/// flannel's or Calico's names if we take their place, so that one device replaces the other.
std::string vxlanName(const Settings& settings, Family outer) {
  const std::string vni = std::to_string(settings.vni);
  if (settings.calico) return outer == Family::kV4 ? "vxlan.calico" : "vxlan-v6.calico";
  if (settings.flannel) return (outer == Family::kV4 ? "flannel." : "flannel-v6.") + vni;
  return (outer == Family::kV4 ? "culvert." : "culvert6.") + vni;
}

std::vector<IpPrefix> hostAddresses(const Surroundings& here) {
  std::vector<IpPrefix> result;
  for (const Family family : kFamilies) {
    if (here.hostAddress.of(family)) result.push_back(IpPrefix::host(*here.hostAddress.of(family)));
  }
  return result;
}

std::uint32_t mtuOf(const Surroundings& here, Encapsulation encapsulation) {
  return podMtuBytes(here.underlay, {{encapsulation, objects::TunnelMode::kAlways}});
}

netlink::Vxlan l3Kind(const Settings& settings) {
  netlink::Vxlan kind;
  kind.external = kind.gpe = true;
  kind.port = settings.vxlanL3Port;
  return kind;
}

netlink::Vxlan classicKind(const Settings& settings, const UnderlayAddress& underlay) {
  netlink::Vxlan kind;
  kind.vni = settings.vni;
  kind.port = settings.vxlanPort;
  kind.local = underlay.address.address();
  kind.underlay = underlay.link;
  return kind;
}

void addClassic(const Surroundings& here, std::vector<DeviceSpec>& devices) {
  for (const Family outer : kFamilies) {
    const auto& underlay = here.underlay.of(outer);
    if (!underlay) continue;
    Underlay only;
    only.of(outer) = underlay;
    const std::uint32_t mtu =
        podMtuBytes(only, {{Encapsulation::kVxlan, objects::TunnelMode::kAlways}});
    devices.push_back({vxlanName(here.settings, outer), classicKind(here.settings, *underlay),
                       ownVtepMac(here, outer), mtu, hostAddresses(here)});
  }
}

void addWireguard(const Surroundings& here, std::vector<DeviceSpec>& devices) {
  const std::size_t slots = KeyRotation{here.settings.wireguardRotation, {}}.slots();
  for (std::size_t slot = 0; slot < slots; ++slot) {
    devices.push_back({kWireguardDevices[slot], netlink::Wireguard{}, std::nullopt,
                       mtuOf(here, Encapsulation::kWireguard), hostAddresses(here)});
  }
}

bool isOurs(const Link& link, const Settings& settings) {
  if (link.alias == kAlias) return true;
  const bool takesPlace = settings.flannel || settings.calico;
  return takesPlace && (link.name == vxlanName(settings, Family::kV4) ||
                        link.name == vxlanName(settings, Family::kV6));
}

/// Strict reverse path filtering would drop what comes through the tunnel while the way back is
/// already another one.
Result<void> setSysctls(const std::string& name) {
  TRY(netlink::ensureSysctl("ipv4/conf/" + name + "/rp_filter", "2"));
  return netlink::ensureSysctl("ipv6/conf/" + name + "/accept_ra", "0");
}

Result<Link> createDevice(netlink::Rtnl& rtnl, const DeviceSpec& device) {
  netlink::LinkSpec spec;
  spec.name = device.name;
  spec.kind = device.kind;
  spec.mac = device.mac;
  spec.mtuBytes = device.mtuBytes;
  spec.alias = kAlias;
  spec.ipv6LinkLocal = false;
  spec.up = true;
  TRY(rtnl.createLink(spec));
  TRY(setSysctls(device.name));
  return rtnl.findLink(device.name);
}

Result<Link> ensureLink(netlink::Rtnl& rtnl, const DeviceSpec& device, const Settings& settings) {
  auto found = rtnl.findLink(device.name);
  if (!found && found.error().code == Errc::kNotFound) return createDevice(rtnl, device);
  const Link link = TRY(std::move(found));
  if (!isOurs(link, settings))
    return makeError(Errc::kAlreadyExists, device.name + " is there, and is not Culvert's");
  if (link.data != device.kind) {
    TRY(rtnl.removeLink(link.index));
    return createDevice(rtnl, device);
  }
  netlink::LinkChange change;
  if (device.mac && link.mac != device.mac) change.mac = device.mac;
  if (device.mtuBytes != 0 && link.mtuBytes != device.mtuBytes) change.mtuBytes = device.mtuBytes;
  if (link.alias != kAlias) change.alias = kAlias;
  if (!link.isUp()) change.up = true;
  if (change.mac || change.mtuBytes || change.alias || change.up)
    TRY(rtnl.changeLink(link.index, change));
  return link;
}

Result<void> addAddresses(netlink::Rtnl& rtnl, IfIndex link, const std::vector<IpPrefix>& wanted) {
  for (const IpPrefix& address : wanted) {
    auto added = rtnl.addAddress(link, {address, false, true});
    if (!added && added.error().code != Errc::kAlreadyExists) return added;
  }
  return {};
}

Result<void> removeOtherAddresses(netlink::Rtnl& rtnl, IfIndex link,
                                  const std::vector<IpPrefix>& wanted) {
  for (const netlink::Address& address : TRY(rtnl.listAddresses(link))) {
    const bool keep = std::find(wanted.begin(), wanted.end(), address.prefix) != wanted.end();
    if (!keep) TRY(ignoreNotFound(rtnl.removeAddress(link, address.prefix)));
  }
  return {};
}

void note(Devices& devices, const DeviceSpec& spec, IfIndex link) {
  if (spec.name == kL3Device) devices.vxlanL3 = link;
  if (spec.name == kIpipDevice) devices.ipip = link;
  for (std::size_t slot = 0; slot < kKeySlots; ++slot) {
    if (spec.name == kWireguardDevices[slot]) devices.wireguard[slot] = link;
  }
  if (const auto* vxlan = std::get_if<netlink::Vxlan>(&spec.kind); vxlan != nullptr && vxlan->local)
    devices.vxlan.of(vxlan->local->family()) = link;
}

Result<void> removeUnwanted(netlink::Rtnl& rtnl, const std::set<std::string>& wanted,
                            const Settings& settings) {
  for (const Link& link : TRY(listDevices(rtnl, settings))) {
    if (wanted.count(link.name) == 0) TRY(ignoreNotFound(rtnl.removeLink(link.index)));
  }
  return {};
}

}  // namespace

std::vector<DeviceSpec> planDevices(const Surroundings& here,
                                    const std::vector<TunnelRule>& rules) {
  std::set<Encapsulation> used;
  for (const TunnelRule& rule : rules) {
    if (rule.mode != objects::TunnelMode::kNever) used.insert(rule.encapsulation);
  }
  std::vector<DeviceSpec> devices;
  if (!here.underlay.v4 && !here.underlay.v6) return devices;
  if (used.count(Encapsulation::kVxlanL3) != 0)
    devices.push_back({kL3Device, l3Kind(here.settings), std::nullopt,
                       mtuOf(here, Encapsulation::kVxlanL3), hostAddresses(here)});
  if (used.count(Encapsulation::kVxlan) != 0) addClassic(here, devices);
  if (used.count(Encapsulation::kIpip) != 0) {
    netlink::Ipip kind;
    kind.external = true;
    devices.push_back(
        {kIpipDevice, kind, std::nullopt, mtuOf(here, Encapsulation::kIpip), hostAddresses(here)});
  }
  if (used.count(Encapsulation::kWireguard) != 0) addWireguard(here, devices);
  return devices;
}

Result<Devices> ensureDevices(netlink::Rtnl& rtnl, const std::vector<DeviceSpec>& wanted,
                              const Settings& settings, std::vector<Error>& problems) {
  Devices devices;
  std::set<std::string> names;
  for (const DeviceSpec& spec : wanted) {
    names.insert(spec.name);
    auto link = ensureLink(rtnl, spec, settings);
    auto ready = link ? addAddresses(rtnl, link->index, spec.addresses) : Result<void>();
    if (!link)
      problems.push_back(std::move(link.error()).wrap("device " + spec.name));
    else if (!ready)
      problems.push_back(std::move(ready.error()).wrap("device " + spec.name));
    else
      note(devices, spec, link->index);
  }
  TRY(removeUnwanted(rtnl, names, settings));
  for (const DeviceSpec& spec : wanted) {
    const auto link = rtnl.findLink(spec.name);
    if (link) TRY(removeOtherAddresses(rtnl, link->index, spec.addresses));
  }
  return devices;
}

Result<std::vector<Link>> listDevices(netlink::Rtnl& rtnl, const Settings& settings) {
  std::vector<Link> ours;
  for (Link& link : TRY(rtnl.listLinks())) {
    if (isOurs(link, settings)) ours.push_back(std::move(link));
  }
  return ours;
}

}  // namespace culvert::routing
