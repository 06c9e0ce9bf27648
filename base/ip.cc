#include "base/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace culvert {
namespace {

constexpr std::array<std::uint8_t, 12> kV4MappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/// The mask byte at `index` of a prefix of `length` bits.
std::uint8_t maskByte(std::size_t index, std::uint8_t length) {
  const int bits = std::clamp(static_cast<int>(length) - static_cast<int>(index) * 8, 0, 8);
  return static_cast<std::uint8_t>(0xff00 >> bits);
}

}  // namespace

IpAddress IpAddress::fromBytes(Family family, const void* bytes) {
  IpAddress result;
  result.family_ = family;
  std::memcpy(result.bytes_.data(), bytes, addressBytes(family));
  return result;
}

IpAddress IpAddress::unspecified(Family family) {
  IpAddress result;
  result.family_ = family;
  return result;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  if (terminated.size() != std::strlen(terminated.c_str())) return std::nullopt;
  std::array<std::uint8_t, 16> raw{};
  if (::inet_pton(AF_INET, terminated.c_str(), raw.data()) == 1) {
    return fromBytes(Family::kV4, raw.data());
  }
  if (::inet_pton(AF_INET6, terminated.c_str(), raw.data()) != 1) return std::nullopt;
  if (std::equal(kV4MappedPrefix.begin(), kV4MappedPrefix.end(), raw.begin())) {
    return fromBytes(Family::kV4, raw.data() + kV4MappedPrefix.size());
  }
  return fromBytes(Family::kV6, raw.data());
}

std::string IpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  const int af = family_ == Family::kV4 ? AF_INET : AF_INET6;
  ::inet_ntop(af, bytes_.data(), buffer.data(), buffer.size());
  return buffer.data();
}

IpAddress IpAddress::next() const noexcept {
  IpAddress result = *this;
  for (std::size_t i = size(); i-- > 0;) {
    if (++result.bytes_.at(i) != 0) break;
  }
  return result;
}

IpAddress IpAddress::previous() const noexcept {
  IpAddress result = *this;
  for (std::size_t i = size(); i-- > 0;) {
    if (result.bytes_.at(i)-- != 0) break;
  }
  return result;
}

bool IpAddress::isUnspecified() const noexcept {
  return *this == unspecified(family_);
}

bool IpAddress::isLoopback() const noexcept {
  return family_ == Family::kV4 ? bytes_[0] == 127 : *this == unspecified(family_).next();
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const std::string_view digits = text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  // "::ffff:10.0.0.1/120" was read as IPv4: its length counts from the start of the IPv6 form.
  if (address->family() == Family::kV4 && text.find(':') < slash) {
    if (length < 96) return std::nullopt;
    length -= 96;
  }
  if (length > addressBits(address->family())) return std::nullopt;
  return IpPrefix(*address, static_cast<std::uint8_t>(length));
}

IpPrefix IpPrefix::network() const noexcept {
  IpPrefix result = *this;
  for (std::size_t i = 0; i < address_.size(); ++i) {
    auto& byte = result.address_.bytes_.at(i);
    byte = static_cast<std::uint8_t>(byte & maskByte(i, length_));
  }
  return result;
}

IpAddress IpPrefix::last() const noexcept {
  IpAddress result = address_;
  for (std::size_t i = 0; i < address_.size(); ++i) {
    auto& byte = result.bytes_.at(i);
    byte = static_cast<std::uint8_t>(byte | static_cast<std::uint8_t>(~maskByte(i, length_)));
  }
  return result;
}

bool IpPrefix::contains(const IpAddress& address) const noexcept {
  if (address.family() != family()) return false;
  return IpPrefix(address, length_).network().address_ == network().address_;
}

bool IpPrefix::overlaps(const IpPrefix& other) const noexcept {
  return length_ <= other.length_ ? contains(other.address_) : other.contains(address_);
}

std::string IpPrefix::text() const {
  return address_.text() + "/" + std::to_string(length_);
}

}  // namespace culvert
