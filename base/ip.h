#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace culvert {

/// The values are the kernel's AF_INET and AF_INET6 (sys/socket.h).
enum class Family : std::uint8_t { kV4 = 2, kV6 = 10 };

/// Length of an address of the family in bytes: 4 or 16.
constexpr std::size_t addressBytes(Family family) {
  return family == Family::kV4 ? 4 : 16;
}
constexpr std::uint8_t addressBits(Family family) {
  return family == Family::kV4 ? 32 : 128;
}

/// An IPv4 or IPv6 address, network byte order. IPv4-mapped IPv6 text ("::ffff:1.2.3.4") is read
/// as the IPv4 address, as Go's net.ParseIP does, so that file names and comparisons agree.
/// Ordered by family, then numerically.
class IpAddress {
 public:
  /// 0.0.0.0
  IpAddress() = default;
  /// `bytes` holds addressBytes(family) bytes.
  static IpAddress fromBytes(Family family, const void* bytes);
  /// All zeros of the family: 0.0.0.0 or ::
  static IpAddress unspecified(Family family);
  static std::optional<IpAddress> parse(std::string_view text);

  Family family() const noexcept { return family_; }
  const std::uint8_t* bytes() const noexcept { return bytes_.data(); }
  std::size_t size() const noexcept { return addressBytes(family_); }
  /// Canonical text (RFC 5952 for IPv6).
  std::string text() const;

  /// The numerically next or previous address; wraps at the end of the family's space.
  IpAddress next() const noexcept;
  IpAddress previous() const noexcept;
  bool isUnspecified() const noexcept;
  /// 127.0.0.0/8, ::1
  bool isLoopback() const noexcept;

  auto operator<=>(const IpAddress&) const = default;

 private:
  friend class IpPrefix;
  Family family_ = Family::kV4;
  std::array<std::uint8_t, 16> bytes_{};
};

/// An address with a prefix length ("10.1.2.3/24"). Host bits are kept; network() clears them.
class IpPrefix {
 public:
  IpPrefix() = default;
  /// `length` is 0..addressBits(family).
  IpPrefix(IpAddress address, std::uint8_t length) : address_(address), length_(length) {}
  /// The single address: /32 or /128.
  static IpPrefix host(const IpAddress& address) {
    return {address, addressBits(address.family())};
  }
  /// 0.0.0.0/0 or ::/0
  static IpPrefix any(Family family) { return {IpAddress::unspecified(family), 0}; }
  /// Needs the "/length".
  static std::optional<IpPrefix> parse(std::string_view text);

  const IpAddress& address() const noexcept { return address_; }
  std::uint8_t length() const noexcept { return length_; }
  Family family() const noexcept { return address_.family(); }
  IpPrefix network() const noexcept;
  /// The highest address of the network (IPv4: its broadcast address).
  IpAddress last() const noexcept;
  bool contains(const IpAddress& address) const noexcept;
  bool overlaps(const IpPrefix& other) const noexcept;
  bool isDefault() const noexcept { return length_ == 0; }
  std::string text() const;

  auto operator<=>(const IpPrefix&) const = default;

 private:
  IpAddress address_;
  std::uint8_t length_ = 0;
};

}  // namespace culvert
