#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "netlink/wireguard.h"

/// WireGuard's side of a plan: who may send what through the tunnel, and where to send it.
namespace culvert::routing {

struct WireguardPeerPlan {
  netlink::Endpoint endpoint;
  std::vector<IpPrefix> allowedIps;   // sorted: the peer's networks
  std::chrono::seconds keepalive{0};  // not 0: a session is set up before there is a packet
  bool operator==(const WireguardPeerPlan&) const = default;
};
using WireguardPeers = std::map<netlink::PublicKey, WireguardPeerPlan>;

/// Peers that come, change or go, and of those that change what differs: sessions of the others are
/// not touched. Pure.
std::vector<netlink::WireguardPeerChange> diff(const WireguardPeers& actual,
                                               const WireguardPeers& desired);

/// What the kernel has.
WireguardPeers peersOf(const netlink::WireguardDevice& device);

/// This node's private key: from `path`, or a new one, written there before it is used (mode 0600,
/// whole or not at all). kDecode if the file holds something else: it is not replaced.
Result<netlink::SecretKey> loadOrCreateKey(const std::string& path);
/// Replaces the key in `path` likewise.
Result<void> keepKey(const std::string& path, const netlink::SecretKey& key);

}  // namespace culvert::routing
