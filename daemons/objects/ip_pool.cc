#include "daemons/objects/ip_pool.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "cni/config_reader.h"
#include "daemons/objects/selector.h"

namespace culvert::objects {
namespace {

using nlohmann::json;

struct EncapsulationName {
  Encapsulation value;
  const char* text;
};
constexpr EncapsulationName kEncapsulations[] = {{Encapsulation::kNone, "none"},
                                                 {Encapsulation::kVxlanL3, "vxlan-l3"},
                                                 {Encapsulation::kVxlan, "vxlan"},
                                                 {Encapsulation::kIpip, "ipip"},
                                                 {Encapsulation::kWireguard, "wireguard"}};
constexpr std::array<const char*, 3> kModes = {"Always", "CrossSubnet", "Never"};

std::optional<TunnelMode> readMode(const cni::ConfigReader& spec, std::string_view key) {
  if (!spec.has(key)) return std::nullopt;
  const auto mode = parseTunnelMode(spec.string(key));
  if (mode) return *mode;
  if (spec.isString(key)) spec.problem(key, mode.error().message);
  return std::nullopt;
}

/// Calico's two modes, of which one at most may be other than Never.
void readCalicoModes(const cni::ConfigReader& spec, IpPool& pool) {
  const TunnelMode vxlan = readMode(spec, "vxlanMode").value_or(TunnelMode::kNever);
  const TunnelMode ipip = readMode(spec, "ipipMode").value_or(TunnelMode::kNever);
  if (vxlan != TunnelMode::kNever && ipip != TunnelMode::kNever)
    spec.problem("ipipMode", "and vxlanMode cannot both be used");
  if (vxlan != TunnelMode::kNever) {
    pool.encapsulation = Encapsulation::kVxlan;
    pool.mode = vxlan;
  } else if (ipip != TunnelMode::kNever) {
    pool.encapsulation = Encapsulation::kIpip;
    pool.mode = ipip;
  }
}

void readTunnel(const cni::ConfigReader& spec, IpPool& pool) {
  readCalicoModes(spec, pool);
  const auto mode = readMode(spec, "tunnelMode");
  if (!spec.has("encapsulation")) {
    if (mode) spec.problem("tunnelMode", "needs encapsulation");
    return;
  }
  if (pool.encapsulation != Encapsulation::kNone)
    spec.problem("encapsulation", "cannot be used with vxlanMode or ipipMode");
  const auto encapsulation = parseEncapsulation(spec.string("encapsulation"));
  if (!encapsulation) {
    if (spec.isString("encapsulation"))
      spec.problem("encapsulation", encapsulation.error().message);
    return;
  }
  pool.encapsulation = *encapsulation;
  pool.mode = pool.encapsulation == Encapsulation::kNone ? TunnelMode::kNever
                                                         : mode.value_or(TunnelMode::kCrossSubnet);
}

/// Networks that no pod can have addresses of.
bool isReserved(const IpPrefix& cidr) {
  for (const char* text : {"169.254.0.0/16", "127.0.0.0/8", "224.0.0.0/4", "0.0.0.0/8", "fe80::/10",
                           "ff00::/8", "::1/128"}) {
    if (IpPrefix::parse(text)->overlaps(cidr)) return true;
  }
  return false;
}

void readCidr(const cni::ConfigReader& spec, IpPool& pool) {
  const auto cidr = spec.prefix("cidr");
  if (!cidr) {
    if (!spec.has("cidr")) spec.problems().add(spec.pathOf("cidr"), "missing");
    return;
  }
  pool.cidr = *cidr;
  if (cidr->network() != *cidr) spec.problem("cidr", "has host bits set");
  if (isReserved(*cidr)) spec.problem("cidr", "overlaps a network that pods cannot have");
}

void readBlockSize(const cni::ConfigReader& spec, IpPool& pool) {
  const bool v4 = pool.cidr.family() == Family::kV4;
  pool.blockLength = v4 ? 26 : 122;
  const auto size = spec.integer("blockSize", v4 ? 20 : 116, v4 ? 32 : 128);
  if (size) pool.blockLength = static_cast<std::uint8_t>(*size);
  if (pool.blockLength < pool.cidr.length() && spec.has("cidr"))
    spec.problem("blockSize", "blocks of /" + std::to_string(pool.blockLength) +
                                  " do not fit into the pool " + pool.cidr.text());
}

void readAssignment(const cni::ConfigReader& spec, IpPool& pool) {
  const std::string mode = spec.string("assignmentMode", "Automatic");
  if (mode != "Automatic" && mode != "Manual")
    spec.problem("assignmentMode", "is none of Automatic, Manual");
  pool.automatic = mode != "Manual";
}

}  // namespace

std::string toText(Encapsulation encapsulation) {
  return kEncapsulations[static_cast<std::size_t>(encapsulation)].text;
}

Result<Encapsulation> parseEncapsulation(const std::string& text) {
  for (const auto& [value, name] : kEncapsulations) {
    if (text == name) return value;
  }
  return makeError(Errc::kInvalidConfig, "is none of none, vxlan-l3, vxlan, ipip, wireguard");
}

std::string toText(TunnelMode mode) {
  return kModes[static_cast<std::size_t>(mode)];
}

Result<TunnelMode> parseTunnelMode(const std::string& text) {
  for (std::size_t i = 0; i < kModes.size(); ++i) {
    if (text == kModes[i]) return static_cast<TunnelMode>(i);
  }
  return makeError(Errc::kInvalidConfig, "is none of Always, CrossSubnet, Never");
}

Result<IpPool> IpPool::parse(const json& object) {
  IpPool pool;
  pool.meta = TRY(Metadata::parse(object));
  cni::Problems problems;
  const cni::ConfigReader spec = cni::ConfigReader(object, "", problems).object("spec");
  readCidr(spec, pool);
  readTunnel(spec, pool);
  readBlockSize(spec, pool);
  readAssignment(spec, pool);
  pool.natOutgoing = spec.boolean("natOutgoing");
  pool.disabled = spec.boolean("disabled");
  pool.disableBgpExport = spec.boolean("disableBGPExport");
  pool.nodeSelector = spec.string("nodeSelector", "all()");
  if (const auto selector = Selector::parse(pool.nodeSelector); !selector)
    spec.problem("nodeSelector", selector.error().message);
  TRY(problems.take());
  pool.meta.annotations.clear();
  return pool;
}

json IpPool::toJson() const {
  json spec = {{"cidr", cidr.text()},
               {"encapsulation", toText(encapsulation)},
               {"natOutgoing", natOutgoing},
               {"disabled", disabled},
               {"disableBGPExport", disableBgpExport},
               {"blockSize", blockLength},
               {"nodeSelector", nodeSelector},
               {"assignmentMode", automatic ? "Automatic" : "Manual"}};
  if (encapsulation != Encapsulation::kNone) spec["tunnelMode"] = toText(mode);
  return {{"apiVersion", "culvert.dev/v1"},
          {"kind", "IPPool"},
          {"metadata", meta.toJson()},
          {"spec", spec}};
}

Result<AddressBlock> AddressBlock::parse(const json& object) {
  AddressBlock block;
  block.meta = TRY(Metadata::parse(object));
  cni::Problems problems;
  const cni::ConfigReader spec = cni::ConfigReader(object, "", problems).object("spec");
  const auto cidr = spec.prefix("cidr");
  if (!cidr) {
    if (!spec.has("cidr")) problems.add("spec.cidr", "missing");
  } else if (cidr->network() != *cidr) {
    spec.problem("cidr", "has host bits set");
  } else if (block.meta.name != blockName(*cidr)) {
    problems.add("metadata.name", "must be " + blockName(*cidr) + " for this block");
  }
  block.cidr = cidr.value_or(IpPrefix());
  block.node = spec.string("node");
  if (block.node.empty()) problems.add("spec.node", "missing");
  block.nodeUid = spec.string("nodeUID");
  block.pool = spec.string("pool");
  TRY(problems.take());
  block.meta.annotations.clear();
  return block;
}

json AddressBlock::toJson() const {
  json spec = {{"cidr", cidr.text()}, {"node", node}, {"pool", pool}};
  if (!nodeUid.empty()) spec["nodeUID"] = nodeUid;
  return {{"apiVersion", "culvert.dev/v1"},
          {"kind", "AddressBlock"},
          {"metadata", meta.toJson()},
          {"spec", spec}};
}

std::string blockName(const IpPrefix& cidr) {
  std::string name = cidr.text();
  for (char& c : name) {
    if (c == '.' || c == ':' || c == '/') c = '-';
  }
  return name.front() == '-' ? "0" + name : name;
}

}  // namespace culvert::objects
