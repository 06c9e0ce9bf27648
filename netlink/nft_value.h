#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"

namespace culvert::nft {

/// What a set's key or a map's data consists of. The numbers are nft's own (TYPE_* in its
/// datatype.h): they travel in NFTA_SET_KEY_TYPE, so that `nft list` prints our sets.
enum class DataType : std::uint8_t {
  kVerdict = 1,       // only as map data
  kIpv4Addr = 7,      // 4 bytes
  kIpv6Addr = 8,      // 16 bytes
  kEtherAddr = 9,     // 6 bytes
  kInetProto = 12,    // 1 byte, IPPROTO_*
  kInetService = 13,  // 2 bytes, network order
  kMark = 19,         // 4 bytes, host order
  kIfName = 41,       // 16 bytes, NUL-padded
  kNfProto = 2,       // 1 byte, NFPROTO_*; matches only, not for sets
  kCtState = 26,      // 4 bytes, host order; for HasBits
  kCtStatus = 28,     // likewise
  kFibAddrType = 38,  // 4 bytes, RTN_*, host order; matches only
};

constexpr DataType addressType(Family family) {
  return family == Family::kV4 ? DataType::kIpv4Addr : DataType::kIpv6Addr;
}

/// Bytes of one value of the type; 0 for a verdict.
std::size_t typeBytes(DataType type);

/// A concatenation of types, `ipv4_addr . inet_service`; one type is a concatenation of one.
using TypeList = std::vector<DataType>;

/// Bytes of a value of the concatenation. In a concatenation of several, each field fills whole
/// 32-bit registers (uapi/linux/netfilter/nf_tables.h).
std::size_t typeBytes(const TypeList& types);

/// Bytes as they stand in a register: a constant, a set's key, a map's data.
class Value {
 public:
  Value() = default;
  Value(const IpAddress& address)  // NOLINT(google-explicit-constructor): the same thing
      : Value(address.bytes(), address.size()) {}
  Value(const MacAddress& address)  // NOLINT(google-explicit-constructor)
      : Value(address.bytes(), 6) {}
  Value(const void* bytes, std::size_t size) : bytes_(static_cast<const char*>(bytes), size) {}
  /// An inet_service.
  static Value port(std::uint16_t port);
  static Value protocol(std::uint8_t protocol) { return {&protocol, sizeof protocol}; }
  static Value mark(std::uint32_t mark) { return {&mark, sizeof mark}; }
  /// At most 15 bytes; the rest is cut, as no interface can have such a name.
  static Value ifName(std::string_view name);
  /// Matches every name that starts with `prefix` (nft: "veth*"). For Compare, not for sets.
  static Value ifNamePrefix(std::string_view prefix);
  /// A value of a concatenation of several types.
  static Value concat(std::initializer_list<Value> fields);

  const std::string& bytes() const noexcept { return bytes_; }
  std::size_t size() const noexcept { return bytes_.size(); }
  bool empty() const noexcept { return bytes_.empty(); }

  /// The fields of a value of `types`, without padding; none if the sizes do not fit.
  std::vector<Value> split(const TypeList& types) const;

  /// Readers: zero, empty or unspecified where the size is another.
  IpAddress address(Family family) const;
  MacAddress macAddress() const;
  std::uint16_t port() const;
  std::uint32_t mark() const;
  std::string ifName() const;

  auto operator<=>(const Value&) const = default;

 private:
  std::string bytes_;  // up to 15 bytes without an allocation
};

/// As nft writes it: `10.0.0.1 . tcp . 80`. Sizes that do not fit the types print as "<invalid>".
std::string toText(const TypeList& types, const Value& value);
/// `ipv4_addr . inet_service`
std::string toText(const TypeList& types);

}  // namespace culvert::nft
