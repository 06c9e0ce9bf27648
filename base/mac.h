#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace culvert {

/// A 48-bit IEEE 802 MAC address.
class MacAddress {
 public:
  MacAddress() = default;
  static MacAddress fromBytes(const void* sixBytes);
  /// Colons, hyphens or Cisco's dots ("0a:58:0a:16:00:02", "0a-58-…", "0a58.0a16.0002"), any case.
  static std::optional<MacAddress> parse(std::string_view text);
  /// Random, unicast, locally administered (IEEE 802 section 8), as the kernel's
  /// eth_random_addr() makes them.
  static MacAddress random();

  const std::uint8_t* bytes() const noexcept { return bytes_.data(); }
  std::string text() const;
  bool isUnicast() const noexcept { return (bytes_[0] & 1) == 0 && *this != MacAddress(); }
  bool operator==(const MacAddress&) const = default;

 private:
  std::array<std::uint8_t, 6> bytes_{};
};

}  // namespace culvert
