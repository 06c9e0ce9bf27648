#include "netlink/nft_value.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace culvert::nft {
namespace {

constexpr std::size_t kRegisterBytes = 4;

std::size_t padded(std::size_t size) {
  return (size + kRegisterBytes - 1) / kRegisterBytes * kRegisterBytes;
}

std::string hex32(std::uint32_t number) {
  char text[sizeof "0x12345678"];
  (void)std::snprintf(text, sizeof text, "0x%08x", number);
  return text;
}

std::string protocolText(const Value& value) {
  switch (static_cast<std::uint8_t>(value.bytes()[0])) {
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_ICMPV6:
      return "ipv6-icmp";
    case IPPROTO_SCTP:
      return "sctp";
    default:
      return std::to_string(static_cast<std::uint8_t>(value.bytes()[0]));
  }
}

std::string fieldText(DataType type, const Value& value) {
  const bool isNamePrefix = type == DataType::kIfName && !value.empty() && value.size() < IFNAMSIZ;
  if (isNamePrefix) return '"' + value.bytes() + "*\"";
  if (value.size() != typeBytes(type)) return "<invalid>";
  switch (type) {
    case DataType::kIpv4Addr:
      return value.address(Family::kV4).text();
    case DataType::kIpv6Addr:
      return value.address(Family::kV6).text();
    case DataType::kEtherAddr:
      return value.macAddress().text();
    case DataType::kInetProto:
      return protocolText(value);
    case DataType::kInetService:
      return std::to_string(value.port());
    case DataType::kMark:
      return hex32(value.mark());
    case DataType::kIfName:
      return '"' + value.ifName() + '"';
    case DataType::kNfProto:
      return value.bytes()[0] == 2 ? "ipv4" : value.bytes()[0] == 10 ? "ipv6" : "<invalid>";
    case DataType::kFibAddrType:
      return value.mark() == RTN_LOCAL ? "local" : "<invalid>";
    case DataType::kCtState:
    case DataType::kCtStatus:
    case DataType::kVerdict:
      break;
  }
  return "<invalid>";
}

const char* typeName(DataType type) {
  switch (type) {
    case DataType::kVerdict:
      return "verdict";
    case DataType::kIpv4Addr:
      return "ipv4_addr";
    case DataType::kIpv6Addr:
      return "ipv6_addr";
    case DataType::kEtherAddr:
      return "ether_addr";
    case DataType::kInetProto:
      return "inet_proto";
    case DataType::kInetService:
      return "inet_service";
    case DataType::kMark:
      return "mark";
    case DataType::kIfName:
      return "ifname";
    case DataType::kNfProto:
      return "nf_proto";
    case DataType::kCtState:
      return "ct_state";
    case DataType::kCtStatus:
      return "ct_status";
    case DataType::kFibAddrType:
      return "fib_addrtype";
  }
  return "<invalid>";
}

}  // namespace

std::size_t typeBytes(DataType type) {
  switch (type) {
    case DataType::kVerdict:
      return 0;
    case DataType::kInetProto:
    case DataType::kNfProto:
      return 1;
    case DataType::kInetService:
      return 2;
    case DataType::kIpv4Addr:
    case DataType::kMark:
    case DataType::kCtState:
    case DataType::kCtStatus:
    case DataType::kFibAddrType:
      return 4;
    case DataType::kEtherAddr:
      return 6;
    case DataType::kIpv6Addr:
    case DataType::kIfName:
      return 16;
  }
  return 0;
}

std::size_t typeBytes(const TypeList& types) {
  if (types.size() == 1) return typeBytes(types.front());
  std::size_t sum = 0;
  for (const DataType type : types)
    sum += padded(typeBytes(type));
  return sum;
}

Value Value::port(std::uint16_t port) {
  const std::uint16_t network = htons(port);
  return {&network, sizeof network};
}

Value Value::ifName(std::string_view name) {
  char padded[IFNAMSIZ] = {};
  name.substr(0, IFNAMSIZ - 1).copy(padded, IFNAMSIZ - 1);
  return {padded, sizeof padded};
}

Value Value::ifNamePrefix(std::string_view prefix) {
  return {prefix.data(), std::min<std::size_t>(prefix.size(), IFNAMSIZ - 1)};
}

Value Value::concat(std::initializer_list<Value> fields) {
  Value result;
  for (const Value& field : fields) {
    result.bytes_ += field.bytes_;
    result.bytes_.resize(padded(result.bytes_.size()));
  }
  return result;
}

std::vector<Value> Value::split(const TypeList& types) const {
  if (types.empty() || size() != typeBytes(types)) return {};
  std::vector<Value> fields;
  std::size_t at = 0;
  for (const DataType type : types) {
    fields.emplace_back(bytes_.data() + at, typeBytes(type));
    at += padded(typeBytes(type));
  }
  return fields;
}

IpAddress Value::address(Family family) const {
  if (size() != addressBytes(family)) return IpAddress::unspecified(family);
  return IpAddress::fromBytes(family, bytes_.data());
}

MacAddress Value::macAddress() const {
  return size() == 6 ? MacAddress::fromBytes(bytes_.data()) : MacAddress();
}

std::uint16_t Value::port() const {
  std::uint16_t network = 0;
  if (size() == sizeof network) std::memcpy(&network, bytes_.data(), sizeof network);
  return ntohs(network);
}

std::uint32_t Value::mark() const {
  std::uint32_t mark = 0;
  if (size() == sizeof mark) std::memcpy(&mark, bytes_.data(), sizeof mark);
  return mark;
}

std::string Value::ifName() const {
  return bytes_.substr(0, bytes_.find('\0'));
}

std::string toText(const TypeList& types, const Value& value) {
  if (types.size() == 1) return fieldText(types.front(), value);
  const std::vector<Value> fields = value.split(types);
  if (fields.empty()) return "<invalid>";
  std::string text;
  for (std::size_t i = 0; i < fields.size(); ++i)
    text += (i == 0 ? "" : " . ") + fieldText(types[i], fields[i]);
  return text;
}

std::string toText(const TypeList& types) {
  std::string text;
  for (const DataType type : types)
    text += (text.empty() ? "" : " . ") + std::string(typeName(type));
  return text;
}

}  // namespace culvert::nft
