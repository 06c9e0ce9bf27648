#include "plugins/host_device/find.h"

#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/file.h"

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::Rtnl;

constexpr char kDevices[] = "/sys/devices/";
constexpr char kPciBus[] = "/sys/bus/pci/devices/";
constexpr char kAuxiliaryBus[] = "/sys/bus/auxiliary/devices/";

/// Sorted; none if there is no such folder.
std::vector<std::string> listFolder(const std::string& folder) {
  auto names = listDirectory(folder).value_or(std::vector<std::string>());
  std::erase_if(names, [](const std::string& name) { return name.starts_with('.'); });
  std::sort(names.begin(), names.end());
  return names;
}

/// The device's real folder, which no symbolic link leads out of /sys/devices.
Result<std::string> resolve(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), &std::free);
  if (!real) return fromErrno(errno, "device '" + path + "'");
  std::string text = real.get();
  if (!text.starts_with(kDevices))
    return makeError(Errc::kInvalidConfig,
                     "'" + path + "' leads to '" + text + "', which is no device");
  return text;
}

std::string baseName(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

/// The first interface of the device in `folder`. Names in /sys are those of the namespace that
/// mounted it, which may be another: the interface must know the device as its parent.
Result<Link> interfaceOf(Rtnl& host, const std::string& folder) {
  const std::vector<std::string> names = listFolder(folder + "/net");
  if (names.empty())
    return makeError(Errc::kNotFound, "there is no network interface in " + folder + "/net");
  Link link = TRY(host.findLink(names.front()));
  if (!link.parentDevice.empty() && link.parentDevice != baseName(folder)) {
    return makeError(Errc::kNotFound, "'" + link.name + "' in " + folder +
                                          "/net is not the interface of that name here");
  }
  return link;
}

/// Virtio's interfaces are those of a device on the PCI device.
Result<Link> findByPciId(Rtnl& host, const std::string& id) {
  const std::string folder = TRY(resolve(kPciBus + id));
  if (!listFolder(folder + "/net").empty()) return interfaceOf(host, folder);
  for (const std::string& child : listFolder(folder)) {
    if (child.starts_with("virtio")) return interfaceOf(host, folder + "/" + child);
  }
  return makeError(Errc::kNotFound, "PCI device " + id + " has no network interface");
}

Result<Link> findByMac(Rtnl& host, const MacAddress& mac) {
  for (Link& link : TRY(host.listLinks())) {
    if (link.mac == mac) return std::move(link);
  }
  return makeError(Errc::kNotFound, "no interface has MAC address " + mac.text());
}

Result<Link> findSelected(Rtnl& host, const HostDeviceConfig& config) {
  if (!config.device.empty()) return host.findLink(config.device);
  if (config.mac) return findByMac(host, *config.mac);
  if (!config.kernelPath.empty()) return interfaceOf(host, TRY(resolve(config.kernelPath)));
  if (!config.pciId.empty()) return findByPciId(host, config.pciId);
  return interfaceOf(host, TRY(resolve(kAuxiliaryBus + config.auxiliaryId)));
}

}  // namespace

Result<Link> findDevice(Rtnl& host, const HostDeviceConfig& config) {
  Link link = TRY(findSelected(host, config).context("find host device"));
  if ((link.flags & IFF_LOOPBACK) != 0)
    return makeError(Errc::kInvalidConfig, "'" + link.name + "' is a loopback interface");
  return link;
}

Result<bool> isUserspaceDevice(const HostDeviceConfig& config) {
  if (config.pciId.empty()) return config.dpdkMode.value_or(false);
  const std::string driver = kPciBus + config.pciId + "/driver";
  std::array<char, PATH_MAX> target{};
  if (::readlink(driver.c_str(), target.data(), target.size() - 1) < 0)
    return fromErrno(errno, "host device: driver of PCI device " + config.pciId);
  constexpr std::array kDrivers{"vfio-pci", "uio_pci_generic", "igb_uio"};
  return std::find(kDrivers.begin(), kDrivers.end(), baseName(target.data())) != kDrivers.end();
}

}  // namespace culvert::plugins
