#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "cni/config_reader.h"
#include "daemons/objects/ip_pool.h"
#include "daemons/routing/key_rotation.h"

namespace culvert::routing {

/// What Culvert's routes, nexthops and neighbours carry as their protocol, and by which it knows
/// them again (rtm_protocol, uapi/linux/rtnetlink.h; nobody else's in iproute2's rt_protos).
inline constexpr std::uint8_t kProtocol = 197;

inline constexpr const char* kL3Device = "culvert-l3";
inline constexpr const char* kIpipDevice = "culvert-ipip";
inline constexpr PerSlot<const char*> kWireguardDevices = {"culvert-wg", "culvert-wg1"};
inline constexpr const char* kWireguardDevicePrefix = "culvert-wg";  // of their names

/// The section `routing.bgp`.
struct BgpSettings {
  bool enabled = false;
  std::string configFile = "/run/culvert/bird/bird.conf";
  std::string socket = "/run/culvert/bird/bird.ctl";
  std::string secretNamespace = "kube-system";  // of the Secrets with peers' passwords
};

/// The section `routing` of culvertd.yaml. docs/routing.md has every key.
struct Settings {
  /// For pod addresses that are in no IPPool.
  objects::Encapsulation encapsulation = objects::Encapsulation::kVxlanL3;
  objects::TunnelMode mode = objects::TunnelMode::kCrossSubnet;
  bool natOutgoing = true;
  std::vector<IpPrefix> clusterCidrs;        // besides the pools and the nodes' own
  std::vector<IpPrefix> nonMasqueradeCidrs;  // destinations that see the pod's address
  std::string interface;                // the underlay's; empty: the one with the node's address
  std::vector<IpAddress> nodeIps;       // at most one of each family; empty: found out
  std::uint32_t vni = 1;                // 1..16777215; of both kinds of VXLAN; Calico's is 4096
  std::uint16_t vxlanPort = 8472;       // flannel's, and the kernel's default; Calico's is 4789
  std::uint16_t vxlanL3Port = 4790;     // IANA's VXLAN-GPE
  std::uint16_t wireguardPort = 51820;  // and the next one, if keys are rotated
  std::chrono::seconds wireguardRotation{7 * 24 * 3600};  // 0: never; alike on all nodes
  std::uint32_t mtuBytes = 0;  // of pods; 0: the underlay's less the tunnel
  bool flannel = false;        // take its place: its device, its annotations
  bool calico = false;         // likewise, as far as it is VXLAN
  std::chrono::milliseconds blockGrace{
      std::chrono::minutes(15)};  // until a lost node's blocks are free
  std::chrono::milliseconds emptyBlockGrace{
      std::chrono::minutes(5)};  // until an empty block is offered no more; and then until it goes
  std::chrono::seconds leaseTime{60};  // etcd: how long a node counts as alive that is not heard of
  BgpSettings bgp;
  bool checksumOffload = true;  // off: transmit checksums of the tunnel in software
};

/// Adds every problem to the reader's list.
Settings readSettings(const cni::ConfigReader& section);

}  // namespace culvert::routing
