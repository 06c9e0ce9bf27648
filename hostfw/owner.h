#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/attachment.h"

namespace culvert::hostfw {

/// One attachment (CNI 1.1.0 section 2): a container's interface in a network. Everything Culvert
/// leaves on the host on behalf of an attachment carries its owner, so that DEL and GC find it with
/// neither namespace nor previous result.
struct Owner {
  std::string network;      // the configuration's "name"
  std::string containerId;  // CNI_CONTAINERID
  std::string ifName;       // CNI_IFNAME
  bool operator==(const Owner&) const = default;
};

using culvert::Attachment;

/// What can be read back from a tag: its text may be cut, the hashes never are. Two owners are the
/// same if both hashes are.
struct OwnerHash {
  std::string network;     // 16 hex digits of SHA-512(network)
  std::string attachment;  // 16 hex digits of SHA-512(containerId ":" ifName)
  auto operator<=>(const OwnerHash&) const = default;
};

OwnerHash ownerHash(const Owner& owner);

/// "<network hash>-<attachment hash>, net: NETWORK, id: CONTAINERID, if: IFNAME", cut to
/// kTagBytesMax: the comment of every nft element of this owner. Bytes that nft cannot print
/// inside quotes become '?'.
inline constexpr std::size_t kTagBytesMax = 128;
std::string ownerTag(const Owner& owner);

/// The hashes at the front of a tag; absent if `text` is not one (somebody else's comment).
std::optional<OwnerHash> parseOwnerTag(std::string_view text);

/// The alias (IFLA_IFALIAS, at most 255 bytes) of every link of this owner: "culvert " and the tag.
std::string linkAlias(const Owner& owner);
std::optional<OwnerHash> parseLinkAlias(std::string_view alias);

/// The host end of the attachment's veth pair: "veth" and 11 hex digits of SHA-512 over network,
/// NUL, containerId, NUL, ifName. 15 bytes, IFNAMSIZ less its NUL. The same on every ADD and DEL.
std::string hostVethName(const Owner& owner);

}  // namespace culvert::hostfw
