#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/ip.h"
#include "base/result.h"
#include "daemons/objects/metadata.h"

namespace culvert::objects {

/// How packets to another node are carried when the fabric cannot.
enum class Encapsulation : std::uint8_t { kNone, kVxlanL3, kVxlan, kIpip, kWireguard };
/// When they are: to every node, to those that are not on-link, to none.
enum class TunnelMode : std::uint8_t { kAlways, kCrossSubnet, kNever };

/// "vxlan-l3", "vxlan", "ipip", "wireguard", "none".
std::string toText(Encapsulation encapsulation);
Result<Encapsulation> parseEncapsulation(const std::string& text);
/// "Always", "CrossSubnet", "Never".
std::string toText(TunnelMode mode);
Result<TunnelMode> parseTunnelMode(const std::string& text);

/// culvert.dev/v1 IPPool: addresses for pods, with Calico's field names and defaults
/// (projectcalico.org/v3 IPPool), and `encapsulation` and `tunnelMode` for what Calico has not.
struct IpPool {
  Metadata meta;
  IpPrefix cidr;
  Encapsulation encapsulation = Encapsulation::kNone;
  TunnelMode mode = TunnelMode::kNever;
  bool natOutgoing = false;
  bool disabled = false;  // no new blocks; routes stay
  bool disableBgpExport = false;
  std::uint8_t blockLength = 26;  // prefix length of a node's block: 20..32, or 116..128 (IPv6)
  std::string nodeSelector = "all()";  // which nodes take blocks
  bool automatic = true;               // assignmentMode; off: only for pods that name the pool
  bool operator==(const IpPool&) const = default;

  /// kInvalidConfig naming every field that is wrong.
  static Result<IpPool> parse(const nlohmann::json& object);
  /// An object that parse() reads as an equal pool.
  nlohmann::json toJson() const;
};

/// culvert.dev/v1 AddressBlock: a node's share of a pool. Its name is blockName(cidr), so that a
/// block can be taken only once.
struct AddressBlock {
  Metadata meta;
  IpPrefix cidr;
  std::string node, nodeUid, pool;
  bool operator==(const AddressBlock&) const = default;
  static Result<AddressBlock> parse(const nlohmann::json& object);
  nlohmann::json toJson() const;
};

/// "10-42-3-0-26", "fd00-42--1-0-122".
std::string blockName(const IpPrefix& cidr);

}  // namespace culvert::objects
