#include "plugins/host_device/config.h"

#include <algorithm>
#include <cctype>

#include "cni/common_config.h"
#include "cni/config_reader.h"
#include "plugins/shared/config.h"

namespace culvert::plugins {
namespace {

constexpr char kDevices[] = "/sys/devices/";
constexpr std::size_t kMaxAuxiliaryBytes = 64;

bool areHex(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isxdigit(c) != 0; });
}

/// DOMAIN:BUS:DEVICE.FUNCTION, the kernel's "%04x:%02x:%02x.%d" (pci_name()); domains of virtual
/// hosts have more digits.
bool isPciId(std::string_view id) {
  if (id.size() < 12 || id.size() > 16) return false;
  const std::size_t domain = id.size() - 8;
  const std::string_view rest = id.substr(domain);
  return areHex(id.substr(0, domain)) && rest[0] == ':' && areHex(rest.substr(1, 2)) &&
         rest[3] == ':' && areHex(rest.substr(4, 2)) && rest[6] == '.' && rest[7] >= '0' &&
         rest[7] <= '7';
}

/// MODULE.NAME.ID (auxiliary_device_add()).
bool isAuxiliaryId(std::string_view id) {
  const auto belongs = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  };
  return !id.empty() && id.size() <= kMaxAuxiliaryBytes && id.front() != '.' &&
         id.find("..") == std::string_view::npos && id.find('.') != std::string_view::npos &&
         std::all_of(id.begin(), id.end(), belongs);
}

std::string lowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string readKernelPath(const cni::ConfigReader& reader) {
  std::string path = reader.string("kernelpath");
  if (path.empty()) return path;
  const bool leaves = (path + '/').find("/../") != std::string::npos;
  if (!path.starts_with(kDevices) || leaves || path.find('\0') != std::string::npos) {
    reader.problem("kernelpath", "must be absolute, begin with /sys/devices/ and stay there");
    return "";
  }
  return path;
}

std::string readPciId(const cni::ConfigReader& reader) {
  std::string id = lowerCase(reader.string("pciBusID"));
  if (id.empty() || isPciId(id)) return id;
  reader.problem("pciBusID", "is no PCI address (0000:04:00.5)");
  return "";
}

/// "deviceID" of a device plugin: a PCI address, which goes before "pciBusID", or a device of the
/// auxiliary bus.
void readDeviceId(const cni::ConfigReader& runtime, HostDeviceConfig& config) {
  const std::string id = runtime.string("deviceID");
  if (id.empty()) return;
  if (isPciId(lowerCase(id))) {
    config.pciId = lowerCase(id);
  } else if (isAuxiliaryId(id)) {
    config.pciId.clear();
    config.auxiliaryId = id;
  } else {
    runtime.problem("deviceID", "is neither a PCI address nor an auxiliary device");
  }
}

bool needsSelector(const cni::Request& request, const cni::ConfigReader& reader) {
  const bool ofNetwork =
      request.command == cni::Command::kStatus || request.command == cni::Command::kGc;
  return !ofNetwork || !reader.object("capabilities").boolean("deviceID");
}

}  // namespace

bool HostDeviceConfig::hasSelector() const {
  return !device.empty() || mac || !kernelPath.empty() || !pciId.empty() || !auxiliaryId.empty();
}

Result<HostDeviceConfig> parseHostDeviceConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  HostDeviceConfig config;
  config.device = readInterfaceName(reader, "device", "");
  config.mac = reader.mac("hwaddr");
  config.kernelPath = readKernelPath(reader);
  config.pciId = readPciId(reader);
  readDeviceId(reader.object("runtimeConfig"), config);
  if (reader.has("DPDKMode")) config.dpdkMode = reader.boolean("DPDKMode");
  config.ipamType = reader.object("ipam").string("type");
  config.dns = cni::readDns(reader, "dns").value_or(cni::Dns());
  TRY(problems.take());
  if (!config.hasSelector() && needsSelector(request, reader)) {
    return makeError(Errc::kInvalidConfig,
                     "specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\"");
  }
  return config;
}

}  // namespace culvert::plugins
