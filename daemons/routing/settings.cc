#include "daemons/routing/settings.h"

#include <nlohmann/json.hpp>

namespace culvert::routing {
namespace {

std::vector<IpPrefix> readPrefixes(const cni::ConfigReader& section, std::string_view key) {
  std::vector<IpPrefix> result;
  for (const std::string& text : section.strings(key)) {
    const auto prefix = IpPrefix::parse(text);
    if (prefix && prefix->network() == *prefix)
      result.push_back(*prefix);
    else
      section.problems().add(section.pathOf(key), "\"" + text + "\" is not a network (CIDR)");
  }
  return result;
}

std::vector<IpAddress> readNodeIps(const cni::ConfigReader& section) {
  std::vector<IpAddress> result;
  for (const std::string& text : section.strings("nodeIPs")) {
    const auto address = IpAddress::parse(text);
    if (!address) {
      section.problems().add(section.pathOf("nodeIPs"), "\"" + text + "\" is not an IP address");
      continue;
    }
    for (const IpAddress& other : result) {
      if (other.family() == address->family())
        section.problem("nodeIPs", "has two addresses of one family");
    }
    result.push_back(*address);
  }
  return result;
}

std::uint16_t readPort(const cni::ConfigReader& section, std::string_view key,
                       std::uint16_t fallback) {
  return static_cast<std::uint16_t>(section.integer(key, 1, 65535).value_or(fallback));
}

void readTunnel(const cni::ConfigReader& section, Settings& settings) {
  if (section.has("encapsulation")) {
    const auto parsed = objects::parseEncapsulation(section.string("encapsulation"));
    if (parsed)
      settings.encapsulation = *parsed;
    else if (section.isString("encapsulation"))
      section.problem("encapsulation", parsed.error().message);
  }
  if (!section.has("tunnelMode")) return;
  const auto mode = objects::parseTunnelMode(section.string("tunnelMode"));
  if (mode)
    settings.mode = *mode;
  else if (section.isString("tunnelMode"))
    section.problem("tunnelMode", mode.error().message);
}

void readWireguard(const cni::ConfigReader& section, Settings& settings) {
  settings.wireguardPort = readPort(section, "wireguardPort", settings.wireguardPort);
  const auto seconds = section.integer("wireguardRotationSeconds", 0, 365 * 24 * 3600);
  if (!seconds) return;
  settings.wireguardRotation = std::chrono::seconds(*seconds);
  if (*seconds != 0 && *seconds < 10)
    section.problem("wireguardRotationSeconds", "must be 0 (never) or at least 10");
}

BgpSettings readBgp(const cni::ConfigReader& section) {
  BgpSettings settings;
  settings.enabled = section.boolean("enabled");
  settings.configFile = section.string("configFile", settings.configFile);
  settings.socket = section.string("socket", settings.socket);
  settings.secretNamespace = section.string("secretNamespace", settings.secretNamespace);
  if (!settings.configFile.starts_with('/'))
    section.problem("configFile", "is not an absolute path");
  if (!settings.socket.starts_with('/')) section.problem("socket", "is not an absolute path");
  return settings;
}

}  // namespace

Settings readSettings(const cni::ConfigReader& section) {
  Settings settings;
  readTunnel(section, settings);
  settings.natOutgoing = section.boolean("natOutgoing", settings.natOutgoing);
  settings.clusterCidrs = readPrefixes(section, "clusterCIDRs");
  settings.nonMasqueradeCidrs = readPrefixes(section, "nonMasqueradeCIDRs");
  settings.interface = section.string("interface");
  settings.nodeIps = readNodeIps(section);
  settings.flannel = section.boolean("flannel", settings.flannel);
  settings.calico = section.boolean("calico", settings.calico);
  if (settings.flannel && settings.calico) section.problem("calico", "excludes flannel: true");
  if (settings.calico) {
    settings.vni = 4096;
    settings.vxlanPort = 4789;
  }
  settings.vni =
      static_cast<std::uint32_t>(section.integer("vni", 1, 0xffffff).value_or(settings.vni));
  settings.vxlanPort = readPort(section, "vxlanPort", settings.vxlanPort);
  settings.vxlanL3Port = readPort(section, "vxlanL3Port", settings.vxlanL3Port);
  readWireguard(section, settings);
  settings.mtuBytes = static_cast<std::uint32_t>(section.integer("mtu", 1280, 65535).value_or(0));
  if (const auto grace = section.integer("blockGraceSeconds", 1, 30 * 24 * 3600))
    settings.blockGrace = std::chrono::seconds(*grace);
  if (const auto grace = section.integer("emptyBlockSeconds", 1, 30 * 24 * 3600))
    settings.emptyBlockGrace = std::chrono::seconds(*grace);
  if (const auto time = section.integer("leaseSeconds", 5, 3600))
    settings.leaseTime = std::chrono::seconds(*time);
  settings.checksumOffload = section.boolean("checksumOffload", settings.checksumOffload);
  settings.bgp = readBgp(section.object("bgp"));
  if (settings.wireguardRotation.count() != 0 && settings.wireguardPort == 65535)
    section.problem("wireguardPort", "must leave room for the second port, of the rotated key");
  if (settings.vxlanPort == settings.vxlanL3Port)
    section.problem("vxlanL3Port", "must differ from vxlanPort");
  return settings;
}

}  // namespace culvert::routing
