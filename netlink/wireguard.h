#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/netns.h"
#include "base/result.h"
#include "netlink/link.h"
#include "netlink/socket.h"
#include "netlink/wireguard_key.h"

// WireGuard devices over generic netlink (uapi/linux/wireguard.h). The device itself is a link:
// Rtnl::createLink() with `Wireguard`.
namespace culvert::netlink {

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;  // UDP
  bool operator==(const Endpoint&) const = default;
};

/// A peer as the kernel has it.
struct WireguardPeer {
  PublicKey key;
  std::optional<SecretKey> presharedKey = {};
  std::optional<Endpoint> endpoint = {};  // where it was heard last, or what was set
  std::chrono::seconds keepalive{0};      // 0: none are sent
  std::vector<IpPrefix> allowedIps = {};  // in the kernel's order
  std::optional<std::chrono::system_clock::time_point> lastHandshake = {};
  std::uint64_t rxBytes = 0, txBytes = 0;
};

struct WireguardDevice {
  IfIndex link = IfIndex::kNone;
  std::string name;
  std::optional<SecretKey> privateKey = {};  // absent: none is set
  PublicKey publicKey;
  std::uint16_t listenPort = 0;
  std::uint32_t fwmark = 0;  // of the packets outside; 0: none
  std::vector<WireguardPeer> peers = {};
};

/// What becomes of a peer; what is absent stays as it is.
struct WireguardPeerChange {
  enum class How { kEnsure, kUpdate, kRemove };  // kUpdate: nothing if there is no such peer
  PublicKey key;
  How how = How::kEnsure;
  std::optional<SecretKey> presharedKey = {};  // all zeros: none any more
  std::optional<Endpoint> endpoint = {};
  std::optional<std::chrono::seconds> keepalive = {};    // 0..65535
  std::optional<std::vector<IpPrefix>> allowedIps = {};  // these and no others; another peer that
                                                         // has one of them loses it
};

struct WireguardChange {
  std::optional<SecretKey> privateKey = {};  // all zeros: none any more
  std::optional<std::uint16_t> listenPort = {};
  std::optional<std::uint32_t> fwmark = {};
  bool replacePeers =
      false;  // those that are not in `peers` go, and sessions of the others with them
  std::vector<WireguardPeerChange> peers = {};
};

class WireguardControl {
 public:
  /// kNotFound if the kernel has no WireGuard.
  static Result<WireguardControl> open();
  static Result<WireguardControl> openIn(const NetNs& ns);

  /// kNotFound without the link, kIo (EOPNOTSUPP) if it is no WireGuard device.
  Result<WireguardDevice> find(IfIndex link);
  /// In as many messages as it takes: if one fails, those before have been done. None of the memory
  /// that keys pass through keeps them.
  Result<void> change(IfIndex link, const WireguardChange& change);

 private:
  WireguardControl(Socket socket, std::uint16_t family)
      : socket_(std::move(socket)), family_(family) {}

  Socket socket_;
  std::uint16_t family_;
};

/// Adds what one WG_CMD_GET_DEVICE message says to `device`; a peer whose allowed IPs did not fit
/// goes on in the next message.
void parseWireguard(const Reply& reply, WireguardDevice& device);

}  // namespace culvert::netlink
