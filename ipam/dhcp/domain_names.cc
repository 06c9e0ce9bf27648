#include "ipam/dhcp/domain_names.h"

#include <algorithm>
#include <cstdint>

namespace culvert::ipam::dhcp {
namespace {

constexpr std::size_t kMaxName = 253;
constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxNames = 32;

bool isNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

/// Reads the name at `position`, which moves behind it. Pointers only lead backwards, each farther
/// than the one before, so that no chain of them is endless.
std::optional<std::string> readName(std::string_view data, std::size_t& position) {
  std::string name;
  std::size_t at = position;
  std::size_t lowest = position;
  bool jumped = false;
  for (;;) {
    if (at >= data.size()) return std::nullopt;
    const auto length = static_cast<std::uint8_t>(data[at]);
    if (length == 0) {
      if (!jumped) position = at + 1;
      return name;
    }
    if (length >= 0xc0) {
      if (at + 1 >= data.size()) return std::nullopt;
      const std::size_t target = (length & 0x3fU) << 8 | static_cast<std::uint8_t>(data[at + 1]);
      if (target >= lowest) return std::nullopt;
      if (!jumped) position = at + 2;
      jumped = true;
      lowest = at = target;
      continue;
    }
    if (length > kMaxLabel || at + 1 + length > data.size()) return std::nullopt;
    if (!name.empty()) name += '.';
    name += data.substr(at + 1, length);
    if (name.size() > kMaxName) return std::nullopt;
    at += 1 + length;
  }
}

}  // namespace

bool isDomainName(std::string_view name) {
  if (name.empty() || name.size() > kMaxName) return false;
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!isNameByte(c) || ++label > kMaxLabel) {
      return false;
    }
  }
  return label > 0;
}

std::optional<std::vector<std::string>> parseDomainNames(std::string_view data) {
  std::vector<std::string> names;
  std::size_t position = 0;
  while (position < data.size()) {
    auto name = readName(data, position);
    if (!name) return std::nullopt;
    if (isDomainName(*name) && names.size() < kMaxNames) names.push_back(std::move(*name));
  }
  return names;
}

}  // namespace culvert::ipam::dhcp
