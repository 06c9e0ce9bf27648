#include "ipam/dhcp/message4.h"

#include <algorithm>

#include "ipam/dhcp/bytes.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr std::uint32_t kCookie = 0x63825363;
constexpr std::size_t kNameBytes = 64, kFileBytes = 128;
constexpr std::size_t kHardwareBytes = 16;
constexpr std::size_t kMinMessage = 300;
constexpr std::size_t kMaxOption = 255;
constexpr std::uint16_t kBroadcastFlag = 0x8000;
constexpr std::uint8_t kUdp = 17;
constexpr std::size_t kIpHeader = 20, kUdpHeader = 8;

Error malformed(const std::string& what) {
  return makeError(Errc::kDecode, "malformed DHCP message: " + what);
}

std::string_view bytesOf(const IpAddress& address) {
  return asBytes(address.bytes(), address.size());
}

void putOption(std::string& out, std::uint8_t code, std::string_view value) {
  do {
    const std::string_view part = value.substr(0, kMaxOption);
    put8(out, code);
    put8(out, static_cast<std::uint8_t>(part.size()));
    out += part;
    value.remove_prefix(part.size());
  } while (!value.empty());
}

/// Adds the options of one area (the options field, `file` or `sname`).
Result<void> readOptions(std::string_view area, Options4& options) {
  ByteReader reader(area);
  while (!reader.empty()) {
    const auto code = static_cast<std::uint8_t>(*reader.integer(1));
    if (code == kPad) continue;
    if (code == kEnd) return {};
    const auto length = reader.integer(1);
    const auto value = length ? reader.take(*length) : std::nullopt;
    if (!value) return malformed("option " + std::to_string(code) + " is cut short");
    options[code] += *value;
  }
  return {};
}

/// RFC 2132 section 9.3: `file` and `sname` may hold options too, in this order.
Result<void> readOverloaded(std::string_view name, std::string_view file, Options4& options) {
  const auto found = options.find(kOverload);
  if (found == options.end()) return {};
  const auto overload = wholeInteger(found->second, 1);
  if (!overload || *overload < 1 || *overload > 3) return malformed("option 52");
  if ((*overload & 1) != 0) TRY(readOptions(file, options));
  if ((*overload & 2) != 0) TRY(readOptions(name, options));
  return {};
}

std::uint32_t sum(std::string_view data, std::uint32_t start = 0) {
  for (std::size_t i = 0; i < data.size(); ++i)
    start += static_cast<std::uint32_t>(static_cast<std::uint8_t>(data[i])) << (i % 2 == 0 ? 8 : 0);
  return start;
}

/// RFC 1071.
std::uint16_t folded(std::uint32_t total) {
  while (total > 0xffff)
    total = (total & 0xffff) + (total >> 16);
  return static_cast<std::uint16_t>(~total);
}

/// Of the pseudo header and the datagram (RFC 768).
std::uint16_t udpChecksum(std::string_view addresses, std::string_view datagram) {
  return folded(sum(datagram, sum(addresses, static_cast<std::uint32_t>(kUdp + datagram.size()))));
}

}  // namespace

std::optional<Type4> Message4::type() const {
  const auto found = options.find(kMessageType);
  if (found == options.end()) return std::nullopt;
  const auto value = wholeInteger(found->second, 1);
  if (!value || *value < 1 || *value > static_cast<std::uint32_t>(Type4::kRelease))
    return std::nullopt;
  return static_cast<Type4>(*value);
}

std::optional<IpAddress> Message4::addressOption(std::uint8_t code) const {
  const auto found = options.find(code);
  if (found == options.end() || found->second.size() < 4 || found->second.size() % 4 != 0)
    return std::nullopt;
  return IpAddress::fromBytes(Family::kV4, found->second.data());
}

std::string encode4(const Message4& message) {
  std::string out;
  put8(out, message.fromServer ? 2 : 1);
  put8(out, 1);  // Ethernet
  put8(out, 6);
  put8(out, 0);  // hops
  put32(out, message.xid);
  put16(out, message.seconds);
  put16(out, message.broadcast ? kBroadcastFlag : 0);
  out += bytesOf(message.clientAddress);
  out += bytesOf(message.yourAddress);
  out.append(8, '\0');  // siaddr, giaddr
  out += asBytes(message.hardware.bytes(), 6);
  out.append(kHardwareBytes - 6 + kNameBytes + kFileBytes, '\0');
  put32(out, kCookie);
  // Servers and relays look for the type first (RFC 2131 section 4.1 lets options come in any
  // order).
  const auto type = message.options.find(kMessageType);
  if (type != message.options.end()) putOption(out, kMessageType, type->second);
  for (const auto& [code, value] : message.options) {
    if (code != kMessageType && code != kPad && code != kEnd) putOption(out, code, value);
  }
  put8(out, kEnd);
  if (out.size() < kMinMessage) out.resize(kMinMessage, '\0');
  return out;
}

Result<Message4> parse4(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto op = reader.integer(1), type = reader.integer(1), length = reader.integer(1),
             hops = reader.integer(1), xid = reader.integer(4), seconds = reader.integer(2),
             flags = reader.integer(2);
  const auto client = reader.take(4), yours = reader.take(4), next = reader.take(4),
             relay = reader.take(4), hardware = reader.take(kHardwareBytes);
  const auto name = reader.take(kNameBytes), file = reader.take(kFileBytes);
  const auto cookie = reader.integer(4);
  if (!hops || !next || !relay || !cookie) return malformed("too short");
  if (*op != 1 && *op != 2) return malformed("op " + std::to_string(*op));
  if (*type != 1 || *length != 6) return malformed("not of an Ethernet client");
  if (*cookie != kCookie) return malformed("no magic cookie");
  Message4 message{.fromServer = *op == 2,
                   .xid = static_cast<std::uint32_t>(*xid),
                   .seconds = static_cast<std::uint16_t>(*seconds),
                   .broadcast = (*flags & kBroadcastFlag) != 0,
                   .clientAddress = IpAddress::fromBytes(Family::kV4, client->data()),
                   .yourAddress = IpAddress::fromBytes(Family::kV4, yours->data()),
                   .hardware = MacAddress::fromBytes(hardware->data()),
                   .options = {}};
  TRY(readOptions(reader.rest(), message.options));
  TRY(readOverloaded(*name, *file, message.options));
  if (!message.type()) return malformed("no message type");
  return message;
}

std::string packet4(const IpAddress& source, const IpAddress& destination,
                    std::string_view payload) {
  const std::string addresses = std::string(bytesOf(source)) + std::string(bytesOf(destination));
  std::string datagram;
  put16(datagram, kClientPort4);
  put16(datagram, kServerPort4);
  put16(datagram, kUdpHeader + payload.size());
  put16(datagram, 0);
  datagram += payload;
  const std::uint16_t udp = udpChecksum(addresses, datagram);
  std::string checksum;
  put16(checksum, udp == 0 ? 0xffff : udp);  // 0 means "none"
  datagram.replace(6, 2, checksum);

  std::string header;
  put16(header, 0x4500);
  put16(header, kIpHeader + datagram.size());
  put32(header, 0);  // never fragmented
  put8(header, 64);  // TTL
  put8(header, kUdp);
  put16(header, 0);
  header += addresses;
  checksum.clear();
  put16(checksum, folded(sum(header)));
  header.replace(10, 2, checksum);
  return header + datagram;
}

std::optional<std::string_view> payload4(std::string_view packet, bool checksumDone) {
  ByteReader peek(packet);
  const auto first = peek.integer(1), service = peek.integer(1), total = peek.integer(2),
             id = peek.integer(2), fragment = peek.integer(2), ttl = peek.integer(1),
             protocol = peek.integer(1);
  if (!service || !id || !ttl || !protocol || *first >> 4 != 4 || *protocol != kUdp)
    return std::nullopt;
  const std::size_t headerBytes = (*first & 0xf) * 4;
  if (headerBytes < kIpHeader || *total < headerBytes + kUdpHeader || *total > packet.size() ||
      (*fragment & 0x3fff) != 0)
    return std::nullopt;
  const std::string_view header = packet.substr(0, headerBytes);
  if (folded(sum(header)) != 0) return std::nullopt;
  std::string_view datagram = packet.substr(headerBytes, *total - headerBytes);
  ByteReader udp(datagram);
  const auto from = udp.integer(2), to = udp.integer(2), length = udp.integer(2),
             checksum = udp.integer(2);
  if (!from || *to != kClientPort4 || *length < kUdpHeader || *length > datagram.size())
    return std::nullopt;
  datagram = datagram.substr(0, *length);
  if (checksumDone && *checksum != 0 && udpChecksum(header.substr(12, 8), datagram) != 0)
    return std::nullopt;
  return datagram.substr(kUdpHeader);
}

}  // namespace culvert::ipam::dhcp
