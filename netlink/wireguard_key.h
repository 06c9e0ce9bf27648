#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

// WireGuard's keys (wg(8)): 32 bytes, as text in base64 (44 characters).
namespace culvert::netlink {

using KeyBytes = std::array<std::uint8_t, 32>;

/// Who a peer is: a point on Curve25519 (RFC 7748).
struct PublicKey {
  KeyBytes bytes{};
  static std::optional<PublicKey> parse(std::string_view base64);
  std::string text() const;
  auto operator<=>(const PublicKey&) const = default;
};

/// A private or a preshared key. Its bytes are overwritten when it is destroyed or assigned to;
/// comparing takes the same time whatever they are.
class SecretKey {
 public:
  /// A new private key from the kernel's random numbers, clamped as RFC 7748 section 5 wants.
  static Result<SecretKey> generate();
  /// 32 random bytes, for a preshared key.
  static Result<SecretKey> generatePreshared();
  static std::optional<SecretKey> parse(std::string_view base64);
  static SecretKey fromBytes(const void* bytes32);

  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();

  /// Of a private key.
  PublicKey publicKey() const;
  /// For the key's file: the caller overwrites it (wipe()).
  std::string text() const;
  const KeyBytes& bytes() const noexcept { return bytes_; }
  bool isZero() const;
  bool operator==(const SecretKey& other) const;

 private:
  SecretKey() = default;
  KeyBytes bytes_{};
};

/// Overwrites a text that holds a secret, and empties it.
void wipe(std::string& text);

}  // namespace culvert::netlink
