#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/mac.h"
#include "base/result.h"

// DHCP messages (RFC 2131 section 2, RFC 2132) and the IPv4 packets that carry them.
namespace culvert::ipam::dhcp {

inline constexpr std::uint16_t kServerPort4 = 67, kClientPort4 = 68;

enum class Type4 : std::uint8_t {
  kDiscover = 1,
  kOffer = 2,
  kRequest = 3,
  kDecline = 4,
  kAck = 5,
  kNak = 6,
  kRelease = 7
};

/// RFC 2132 and others; the ones we deal in.
enum Option4 : std::uint8_t {
  kPad = 0,
  kSubnetMask = 1,
  kRouter = 3,
  kDnsServer = 6,
  kHostName = 12,
  kDomainName = 15,
  kInterfaceMtu = 26,
  kStaticRoute = 33,
  kRequestedAddress = 50,
  kLeaseTime = 51,
  kOverload = 52,
  kMessageType = 53,
  kServerIdentifier = 54,
  kParameterRequestList = 55,
  kMaxMessageSize = 57,
  kRenewalTime = 58,
  kRebindingTime = 59,
  kVendorClass = 60,
  kClientIdentifier = 61,
  kUserClass = 77,
  kDomainSearch = 119,
  kClasslessRoute = 121,
  kEnd = 255
};

/// Code to value; several options of one code are one value (RFC 3396).
using Options4 = std::map<std::uint8_t, std::string>;

struct Message4 {
  bool fromServer = false;  // op: BOOTREPLY
  std::uint32_t xid = 0;
  std::uint16_t seconds = 0;             // since the exchange began
  bool broadcast = false;                // answers shall be broadcast
  IpAddress clientAddress, yourAddress;  // ciaddr, yiaddr
  MacAddress hardware;                   // chaddr
  Options4 options;

  std::optional<Type4> type() const;
  /// An option that holds one address, or at least one.
  std::optional<IpAddress> addressOption(std::uint8_t code) const;
};

/// At least 300 bytes (RFC 1542 section 2.1). Values beyond 255 bytes are split.
std::string encode4(const Message4& message);

/// kDecode, saying why, for anything malformed; Ethernet only.
Result<Message4> parse4(std::string_view bytes);

/// An IPv4 packet with a UDP datagram from port 68 to port 67.
std::string packet4(const IpAddress& source, const IpAddress& destination,
                    std::string_view payload);

/// The payload of an IPv4 packet that is a whole UDP datagram to port 68. Nothing if it is
/// anything else, or damaged. `checksumDone` is false for packets from this very machine, whose UDP
/// checksum was left to hardware (packet(7), TP_STATUS_CSUMNOTREADY).
std::optional<std::string_view> payload4(std::string_view packet, bool checksumDone);

}  // namespace culvert::ipam::dhcp
