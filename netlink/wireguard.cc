#include "netlink/wireguard.h"

#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "netlink/generic.h"
#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

using How = WireguardPeerChange::How;

/// An attribute holds at most 64 KiB, and all peers of a message stand in one.
constexpr std::size_t kMessageBytes = std::size_t{16} * 1024;
constexpr std::size_t kAllowedIpsAtOnce = 256;  // about 10 KiB

genlmsghdr command(std::uint8_t number) {
  return {number, WG_GENL_VERSION, 0};
}

/// Overwrites a batch when it goes out of scope.
struct SecretBatch {
  SecretBatch() { batch.reserve(4 * kMessageBytes); }
  SecretBatch(const SecretBatch&) = delete;
  SecretBatch& operator=(const SecretBatch&) = delete;
  ~SecretBatch() { batch.wipe(); }
  Batch batch;
};

/// A peer, or a part of its allowed IPs: [first, last).
struct Piece {
  const WireguardPeerChange* peer;
  std::size_t first = 0, last = 0;
};

std::vector<Piece> cut(const std::vector<WireguardPeerChange>& peers) {
  std::vector<Piece> pieces;
  for (const WireguardPeerChange& peer : peers) {
    const std::size_t count = peer.allowedIps ? peer.allowedIps->size() : 0;
    std::size_t first = 0;
    do {
      const std::size_t last = std::min(first + kAllowedIpsAtOnce, count);
      pieces.push_back({&peer, first, last});
      first = last;
    } while (first < count);
  }
  return pieces;
}

void putEndpoint(Batch& batch, const Endpoint& endpoint) {
  if (endpoint.address.family() == Family::kV4) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(endpoint.port);
    std::memcpy(&address.sin_addr, endpoint.address.bytes(), 4);
    return batch.put(WGPEER_A_ENDPOINT, &address, sizeof address);
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(endpoint.port);
  std::memcpy(&address.sin6_addr, endpoint.address.bytes(), 16);
  batch.put(WGPEER_A_ENDPOINT, &address, sizeof address);
}

std::uint32_t flagsOf(const Piece& piece) {
  const WireguardPeerChange& peer = *piece.peer;
  if (peer.how == How::kRemove) return WGPEER_F_REMOVE_ME;
  if (piece.first > 0) return WGPEER_F_UPDATE_ONLY;
  std::uint32_t flags = 0;
  if (peer.how == How::kUpdate) flags |= WGPEER_F_UPDATE_ONLY;
  if (peer.allowedIps) flags |= WGPEER_F_REPLACE_ALLOWEDIPS;
  return flags;
}

void putSettings(Batch& batch, const WireguardPeerChange& peer) {
  if (peer.presharedKey)
    batch.put(WGPEER_A_PRESHARED_KEY, peer.presharedKey->bytes().data(), WG_KEY_LEN);
  if (peer.endpoint) putEndpoint(batch, *peer.endpoint);
  if (peer.keepalive)
    batch.putU16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
                 static_cast<std::uint16_t>(peer.keepalive->count()));
}

void putAllowedIp(Batch& batch, const IpPrefix& prefix) {
  const auto nest = batch.nest(0);
  batch.putU16(WGALLOWEDIP_A_FAMILY, static_cast<std::uint16_t>(prefix.family()));
  batch.putAddress(WGALLOWEDIP_A_IPADDR, prefix.address());
  batch.putU8(WGALLOWEDIP_A_CIDR_MASK, prefix.length());
}

void putPiece(Batch& batch, const Piece& piece) {
  const auto nest = batch.nest(0);
  batch.put(WGPEER_A_PUBLIC_KEY, piece.peer->key.bytes.data(), WG_KEY_LEN);
  batch.putU32(WGPEER_A_FLAGS, flagsOf(piece));
  if (piece.peer->how == How::kRemove) return;
  if (piece.first == 0) putSettings(batch, *piece.peer);
  if (piece.first == piece.last) return;
  const auto allowed = batch.nest(WGPEER_A_ALLOWEDIPS);
  for (std::size_t i = piece.first; i < piece.last; ++i)
    putAllowedIp(batch, (*piece.peer->allowedIps)[i]);
}

void putDevice(Batch& batch, const WireguardChange& change) {
  if (change.privateKey)
    batch.put(WGDEVICE_A_PRIVATE_KEY, change.privateKey->bytes().data(), WG_KEY_LEN);
  if (change.listenPort) batch.putU16(WGDEVICE_A_LISTEN_PORT, *change.listenPort);
  if (change.fwmark) batch.putU32(WGDEVICE_A_FWMARK, *change.fwmark);
  if (change.replacePeers) batch.putU32(WGDEVICE_A_FLAGS, WGDEVICE_F_REPLACE_PEERS);
}

void putPieces(Batch& batch, const std::vector<Piece>& pieces, std::size_t& next) {
  if (next == pieces.size()) return;
  const auto nest = batch.nest(WGDEVICE_A_PEERS);
  for (; next < pieces.size() && batch.sizeBytes() < kMessageBytes; ++next)
    putPiece(batch, pieces[next]);
}

std::optional<KeyBytes> keyIn(const Attributes& attributes, std::uint16_t type) {
  const auto value = attributes.find(type);
  KeyBytes bytes{};
  if (!value || value->size() != bytes.size()) return std::nullopt;
  std::memcpy(bytes.data(), value->data(), bytes.size());
  return bytes;
}

/// Absent if it is all zeros, which is how the kernel says that there is none.
std::optional<SecretKey> secretIn(const Attributes& attributes, std::uint16_t type) {
  const auto value = attributes.find(type);
  if (!value || value->size() != sizeof(KeyBytes)) return std::nullopt;
  SecretKey key = SecretKey::fromBytes(value->data());
  if (key.isZero()) return std::nullopt;
  return key;
}

std::optional<Endpoint> parseEndpoint(std::string_view bytes) {
  sockaddr_in6 six{};
  sockaddr_in four{};
  if (bytes.size() >= sizeof four) std::memcpy(&four, bytes.data(), sizeof four);
  if (bytes.size() == sizeof six) std::memcpy(&six, bytes.data(), sizeof six);
  if (bytes.size() == sizeof four && four.sin_family == AF_INET)
    return Endpoint{IpAddress::fromBytes(Family::kV4, &four.sin_addr), ntohs(four.sin_port)};
  if (bytes.size() == sizeof six && six.sin6_family == AF_INET6)
    return Endpoint{IpAddress::fromBytes(Family::kV6, &six.sin6_addr), ntohs(six.sin6_port)};
  return std::nullopt;
}

std::optional<std::chrono::system_clock::time_point> parseTime(std::string_view bytes) {
  struct {
    std::int64_t seconds, nanoseconds;  // struct __kernel_timespec
  } time{};
  if (bytes.size() != sizeof time) return std::nullopt;
  std::memcpy(&time, bytes.data(), sizeof time);
  constexpr std::int64_t kLast = std::int64_t{1} << 33;  // the year 2242: fits nanoseconds
  if (time.seconds <= 0 || time.seconds > kLast) return std::nullopt;
  return std::chrono::system_clock::time_point(std::chrono::seconds(time.seconds));
}

std::optional<IpPrefix> parseAllowedIp(const Attributes& attributes) {
  const auto family = attributes.u16(WGALLOWEDIP_A_FAMILY);
  const auto length = attributes.u8(WGALLOWEDIP_A_CIDR_MASK);
  if (!length || (family != AF_INET && family != AF_INET6)) return std::nullopt;
  const auto address = attributes.address(WGALLOWEDIP_A_IPADDR, static_cast<Family>(*family));
  if (!address || *length > addressBits(address->family())) return std::nullopt;
  return IpPrefix(*address, *length);
}

void parseAllowedIps(const Attributes& list, std::vector<IpPrefix>& prefixes) {
  list.forEach([&](std::uint16_t, std::string_view bytes) {
    if (const auto prefix = parseAllowedIp(Attributes(bytes))) prefixes.push_back(*prefix);
  });
}

void parsePeer(const Attributes& attributes, std::vector<WireguardPeer>& peers) {
  const auto key = keyIn(attributes, WGPEER_A_PUBLIC_KEY);
  if (!key) return;
  const Attributes allowed = attributes.nested(WGPEER_A_ALLOWEDIPS);
  if (!peers.empty() && peers.back().key.bytes == *key)
    return parseAllowedIps(allowed, peers.back().allowedIps);
  WireguardPeer& peer = peers.emplace_back();
  peer.key.bytes = *key;
  peer.presharedKey = secretIn(attributes, WGPEER_A_PRESHARED_KEY);
  peer.endpoint = parseEndpoint(attributes.find(WGPEER_A_ENDPOINT).value_or(""));
  peer.keepalive =
      std::chrono::seconds(attributes.u16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL).value_or(0));
  peer.lastHandshake = parseTime(attributes.find(WGPEER_A_LAST_HANDSHAKE_TIME).value_or(""));
  peer.rxBytes = attributes.u64(WGPEER_A_RX_BYTES).value_or(0);
  peer.txBytes = attributes.u64(WGPEER_A_TX_BYTES).value_or(0);
  parseAllowedIps(allowed, peer.allowedIps);
}

void parseDevice(const Attributes& attributes, WireguardDevice& device) {
  if (const auto link = attributes.u32(WGDEVICE_A_IFINDEX))
    device.link = static_cast<IfIndex>(*link);
  if (auto name = attributes.string(WGDEVICE_A_IFNAME)) device.name = *std::move(name);
  if (auto key = secretIn(attributes, WGDEVICE_A_PRIVATE_KEY)) device.privateKey = key;
  if (const auto key = keyIn(attributes, WGDEVICE_A_PUBLIC_KEY)) device.publicKey.bytes = *key;
  device.listenPort = attributes.u16(WGDEVICE_A_LISTEN_PORT).value_or(device.listenPort);
  device.fwmark = attributes.u32(WGDEVICE_A_FWMARK).value_or(device.fwmark);
}

}  // namespace

void parseWireguard(const Reply& reply, WireguardDevice& device) {
  const Attributes attributes = reply.attributes(sizeof(genlmsghdr));
  parseDevice(attributes, device);
  attributes.nested(WGDEVICE_A_PEERS).forEach([&](std::uint16_t, std::string_view bytes) {
    parsePeer(Attributes(bytes), device.peers);
  });
}

Result<WireguardControl> WireguardControl::open() {
  Socket socket = TRY(Socket::open(NETLINK_GENERIC));
  socket.keepSecrets();
  const std::uint16_t family = TRY(findGenericFamily(socket, WG_GENL_NAME));
  return WireguardControl(std::move(socket), family);
}

Result<WireguardControl> WireguardControl::openIn(const NetNs& ns) {
  return ns.run([] { return open(); });
}

Result<WireguardDevice> WireguardControl::find(IfIndex link) {
  Batch batch;
  batch.begin(family_, NLM_F_DUMP, command(WG_CMD_GET_DEVICE));
  batch.putU32(WGDEVICE_A_IFINDEX, raw(link));
  const std::string doing = "find WireGuard device " + std::to_string(raw(link));
  WireguardDevice device;
  for (Reply& reply : TRY(socket_.dump(batch).context(doing))) {
    parseWireguard(reply, device);
    wipe(reply.payload);
  }
  return device;
}

Result<void> WireguardControl::change(IfIndex link, const WireguardChange& change) {
  const std::string doing = "configure WireGuard device " + std::to_string(raw(link));
  const std::vector<Piece> pieces = cut(change.peers);
  std::size_t next = 0;
  bool first = true;
  do {
    SecretBatch message;
    message.batch.begin(family_, 0, command(WG_CMD_SET_DEVICE));
    message.batch.putU32(WGDEVICE_A_IFINDEX, raw(link));
    if (first) putDevice(message.batch, change);
    first = false;
    putPieces(message.batch, pieces, next);
    TRY(socket_.execute(message.batch).context(doing));
  } while (next < pieces.size());
  return {};
}

}  // namespace culvert::netlink
