#pragma once

#include <linux/netfilter/nfnetlink.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "netlink/nft_rule.h"
#include "netlink/nft_value.h"

/// nfnetlink bytes, for the nft_*.cc only.
namespace culvert::nft {

constexpr std::uint16_t nftMessage(int message) {
  return static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | message);
}

/// Attributes and messages in a string. Numbers are in network order, as nfnetlink wants them.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  /// Returns where the message starts, for endMessage().
  std::size_t beginMessage(std::uint16_t type, unsigned flags, std::uint32_t sequence,
                           const nfgenmsg& header);
  void endMessage(std::size_t start);

  void put(int type, const void* data, std::size_t size);
  void putU8(int type, std::uint8_t value) { put(type, &value, sizeof value); }
  void putU32(int type, std::uint32_t value);
  void putU64(int type, std::uint64_t value);
  /// With its NUL.
  void putString(int type, const std::string& text) { put(type, text.c_str(), text.size() + 1); }

  std::size_t beginNest(int type);
  void endNest(std::size_t start);
  template <class Body>
  void nest(int type, Body body) {
    const std::size_t start = beginNest(type);
    body();
    endNest(start);
  }

 private:
  std::string& out_;
};

/// One NFTA_DATA_VALUE or NFTA_DATA_VERDICT in an attribute of the given type.
void putValue(Writer& out, int type, const Value& value);
void putVerdict(Writer& out, int type, const Verdict& verdict);

/// Type-length-value lists in NFTA_*_USERDATA, as libnftnl's udata.c has them.
void appendUserdata(std::string& userdata, std::uint8_t type, const void* data, std::size_t size);
std::optional<std::string_view> findUserdata(std::string_view userdata, std::uint8_t type);

/// libnftnl's NFTNL_UDATA_* of rules, elements and sets. Comments are NUL-terminated.
inline constexpr std::uint8_t kUserdataRuleComment = 0;
inline constexpr std::uint8_t kUserdataElementComment = 0;
inline constexpr std::uint8_t kUserdataSetKeyByteOrder = 0;
inline constexpr std::uint8_t kUserdataSetDataByteOrder = 1;
inline constexpr std::uint8_t kUserdataSetComment = 7;

}  // namespace culvert::nft
