#include "base/mac.h"

#include <sys/random.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace culvert {
namespace {

/// Removes separators that stand every `group` hex digits; nullopt if any is elsewhere.
std::optional<std::string> stripSeparators(std::string_view text, char separator,
                                           std::size_t group) {
  std::string digits;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i % (group + 1) != group) {
      digits += text[i];
    } else if (text[i] != separator) {
      return std::nullopt;
    }
  }
  return digits;
}

}  // namespace

MacAddress MacAddress::fromBytes(const void* sixBytes) {
  MacAddress mac;
  std::memcpy(mac.bytes_.data(), sixBytes, mac.bytes_.size());
  return mac;
}

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  std::optional<std::string> digits;
  if (text.size() == 17) digits = stripSeparators(text, text[2] == '-' ? '-' : ':', 2);
  if (text.size() == 14) digits = stripSeparators(text, '.', 4);
  const auto isHex = [](unsigned char c) { return std::isxdigit(c) != 0; };
  if (!digits || digits->size() != 12 || !std::all_of(digits->begin(), digits->end(), isHex)) {
    return std::nullopt;
  }
  MacAddress mac;
  for (std::size_t i = 0; i < mac.bytes_.size(); ++i) {
    mac.bytes_.at(i) =
        static_cast<std::uint8_t>(std::strtoul(digits->substr(i * 2, 2).c_str(), nullptr, 16));
  }
  return mac;
}

MacAddress MacAddress::random() {
  MacAddress mac;
  if (::getrandom(mac.bytes_.data(), mac.bytes_.size(), 0) !=
      static_cast<ssize_t>(mac.bytes_.size())) {
    std::perror("getrandom");
    std::abort();
  }
  mac.bytes_[0] = static_cast<std::uint8_t>((mac.bytes_[0] & 0xfe) | 0x02);
  return mac;
}

std::string MacAddress::text() const {
  std::array<char, 18> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%02x:%02x:%02x:%02x:%02x:%02x", bytes_[0], bytes_[1],
                bytes_[2], bytes_[3], bytes_[4], bytes_[5]);
  return buffer.data();
}

}  // namespace culvert
