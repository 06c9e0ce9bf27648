#include "netlink/wireguard_key.h"

#include <nettle/base64.h>
#include <nettle/curve25519.h>
#include <nettle/memops.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>

namespace culvert::netlink {
namespace {

constexpr std::size_t kTextBytes = BASE64_ENCODE_RAW_LENGTH(sizeof(KeyBytes));  // 44

std::string encode(const KeyBytes& bytes) {
  std::string text(kTextBytes, '\0');
  base64_encode_raw(text.data(), bytes.size(), bytes.data());
  return text;
}

/// False if `text` is not the base64 of exactly 32 bytes.
bool decode(std::string_view text, KeyBytes& bytes) {
  if (text.size() != kTextBytes || text.find_first_of(" \t\r\n\f\v") != std::string_view::npos)
    return false;
  std::array<std::uint8_t, BASE64_DECODE_LENGTH(kTextBytes)> room{};
  std::size_t size = room.size();
  base64_decode_ctx context{};
  base64_decode_init(&context);
  const bool valid =
      base64_decode_update(&context, &size, room.data(), text.size(), text.data()) == 1 &&
      base64_decode_final(&context) == 1 && size == bytes.size();
  if (valid) std::memcpy(bytes.data(), room.data(), bytes.size());
  ::explicit_bzero(room.data(), room.size());
  ::explicit_bzero(&context, sizeof context);
  return valid;
}

}  // namespace

std::optional<PublicKey> PublicKey::parse(std::string_view base64) {
  PublicKey key;
  if (!decode(base64, key.bytes)) return std::nullopt;
  return key;
}

std::string PublicKey::text() const {
  return encode(bytes);
}

Result<SecretKey> SecretKey::generatePreshared() {
  SecretKey key;
  ssize_t got = 0;
  do {
    got = ::getrandom(key.bytes_.data(), key.bytes_.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(key.bytes_.size()))
    return fromErrno(got < 0 ? errno : EIO, "read random bytes for a key");
  return key;
}

Result<SecretKey> SecretKey::generate() {
  SecretKey key = TRY(generatePreshared());
  key.bytes_[0] &= 248;
  key.bytes_[31] = static_cast<std::uint8_t>((key.bytes_[31] & 127) | 64);
  return key;
}

std::optional<SecretKey> SecretKey::parse(std::string_view base64) {
  SecretKey key;
  if (!decode(base64, key.bytes_)) return std::nullopt;
  return key;
}

SecretKey SecretKey::fromBytes(const void* bytes32) {
  SecretKey key;
  std::memcpy(key.bytes_.data(), bytes32, key.bytes_.size());
  return key;
}

SecretKey::~SecretKey() {
  ::explicit_bzero(bytes_.data(), bytes_.size());
}

PublicKey SecretKey::publicKey() const {
  PublicKey key;
  curve25519_mul_g(key.bytes.data(), bytes_.data());
  return key;
}

std::string SecretKey::text() const {
  return encode(bytes_);
}

bool SecretKey::isZero() const {
  return *this == SecretKey();
}

bool SecretKey::operator==(const SecretKey& other) const {
  return memeql_sec(bytes_.data(), other.bytes_.data(), bytes_.size()) == 1;
}

void wipe(std::string& text) {
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

}  // namespace culvert::netlink
