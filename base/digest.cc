#include "base/digest.h"

#include <nettle/sha2.h>

#include <array>
#include <cstdint>

namespace culvert {

std::string sha512Hex(std::string_view data, std::size_t digits) {
  sha512_ctx context;
  sha512_init(&context);
  sha512_update(&context, data.size(), reinterpret_cast<const std::uint8_t*>(data.data()));
  std::array<std::uint8_t, SHA512_DIGEST_SIZE> digest{};
  sha512_digest(&context, digest.size(), digest.data());

  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : digest) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  text.resize(digits);
  return text;
}

}  // namespace culvert
