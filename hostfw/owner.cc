#include "hostfw/owner.h"

#include <algorithm>

#include "base/digest.h"

namespace culvert::hostfw {
namespace {

constexpr std::size_t kHashDigits = 16;
constexpr std::size_t kVethDigits = 11;  // "veth" + 11 = IFNAMSIZ - 1
constexpr std::string_view kAliasPrefix = "culvert ";

bool isHash(std::string_view text) {
  return text.size() == kHashDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

/// nft has no escape for a quote in a quoted string, and a comment must stay one line.
char printable(char c) {
  return c >= ' ' && c <= '~' && c != '"' && c != '\\' ? c : '?';
}

}  // namespace

OwnerHash ownerHash(const Owner& owner) {
  return {sha512Hex(owner.network, kHashDigits),
          sha512Hex(owner.containerId + ":" + owner.ifName, kHashDigits)};
}

std::string ownerTag(const Owner& owner) {
  const OwnerHash hash = ownerHash(owner);
  std::string tag = hash.network + "-" + hash.attachment + ", net: " + owner.network +
                    ", id: " + owner.containerId + ", if: " + owner.ifName;
  tag.resize(std::min(tag.size(), kTagBytesMax));
  std::transform(tag.begin(), tag.end(), tag.begin(), printable);
  return tag;
}

std::optional<OwnerHash> parseOwnerTag(std::string_view text) {
  constexpr std::size_t kBoth = kHashDigits + 1 + kHashDigits;
  if (text.size() < kBoth || text[kHashDigits] != '-') return std::nullopt;
  if (text.size() > kBoth && text[kBoth] != ',') return std::nullopt;
  const std::string_view network = text.substr(0, kHashDigits);
  const std::string_view attachment = text.substr(kHashDigits + 1, kHashDigits);
  if (!isHash(network) || !isHash(attachment)) return std::nullopt;
  return OwnerHash{std::string(network), std::string(attachment)};
}

std::string linkAlias(const Owner& owner) {
  return std::string(kAliasPrefix) + ownerTag(owner);
}

std::optional<OwnerHash> parseLinkAlias(std::string_view alias) {
  if (alias.substr(0, kAliasPrefix.size()) != kAliasPrefix) return std::nullopt;
  return parseOwnerTag(alias.substr(kAliasPrefix.size()));
}

std::string hostVethName(const Owner& owner) {
  const std::string nul(1, '\0');
  return "veth" +
         sha512Hex(owner.network + nul + owner.containerId + nul + owner.ifName, kVethDigits);
}

}  // namespace culvert::hostfw
