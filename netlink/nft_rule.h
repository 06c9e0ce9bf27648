#pragma once

#include <linux/netfilter/nf_tables.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "netlink/nft_value.h"

/// Rules as values. A rule is a list of statements, read from left to right, that look at fields
/// of the packet. What nft adds silently is added here as well: `ip saddr` in an inet table first
/// checks that the packet is IPv4.
namespace culvert::nft {

/// What a field needs to be there at all, and what nft therefore checks before it.
enum class Needs : std::uint8_t { kNothing, kEther, kIp, kIp6, kTcp, kUdp };

/// Something a rule can read: a constant of the namespaces below.
struct Field {
  enum class Source : std::uint8_t { kMeta, kPayload, kCt, kCtOriginal, kFib, kRandom };
  const char* text = "";  // as nft writes it
  Source source = Source::kMeta;
  std::uint8_t selector = 0;  // NFT_META_*, NFT_CT_*, NFT_PAYLOAD_*_HEADER, NFTA_FIB_F_*
  std::uint8_t offset = 0;    // bytes into the header; payload only
  DataType type = DataType::kMark;
  Needs needs = Needs::kNothing;
};

namespace meta {
inline constexpr auto kSource = Field::Source::kMeta;
inline constexpr Field kIifName{"iifname", kSource,           NFT_META_IIFNAME,
                                0,         DataType::kIfName, Needs::kNothing};
inline constexpr Field kOifName{"oifname", kSource,           NFT_META_OIFNAME,
                                0,         DataType::kIfName, Needs::kNothing};
inline constexpr Field kMark{"meta mark", kSource,         NFT_META_MARK,
                             0,           DataType::kMark, Needs::kNothing};
inline constexpr Field kNfProto{"meta nfproto",     kSource,        NFT_META_NFPROTO, 0,
                                DataType::kNfProto, Needs::kNothing};
inline constexpr Field kL4Proto{"meta l4proto",       kSource,        NFT_META_L4PROTO, 0,
                                DataType::kInetProto, Needs::kNothing};
}  // namespace meta

namespace ether {
inline constexpr auto kSource = Field::Source::kPayload;
inline constexpr Field kDaddr{"ether daddr",        kSource,      NFT_PAYLOAD_LL_HEADER, 0,
                              DataType::kEtherAddr, Needs::kEther};
inline constexpr Field kSaddr{"ether saddr",        kSource,      NFT_PAYLOAD_LL_HEADER, 6,
                              DataType::kEtherAddr, Needs::kEther};
}  // namespace ether

namespace ip {
inline constexpr auto kSource = Field::Source::kPayload;
inline constexpr Field kSaddr{"ip saddr",          kSource,   NFT_PAYLOAD_NETWORK_HEADER, 12,
                              DataType::kIpv4Addr, Needs::kIp};
inline constexpr Field kDaddr{"ip daddr",          kSource,   NFT_PAYLOAD_NETWORK_HEADER, 16,
                              DataType::kIpv4Addr, Needs::kIp};
}  // namespace ip

namespace ip6 {
inline constexpr auto kSource = Field::Source::kPayload;
inline constexpr Field kSaddr{"ip6 saddr",         kSource,    NFT_PAYLOAD_NETWORK_HEADER, 8,
                              DataType::kIpv6Addr, Needs::kIp6};
inline constexpr Field kDaddr{"ip6 daddr",         kSource,    NFT_PAYLOAD_NETWORK_HEADER, 24,
                              DataType::kIpv6Addr, Needs::kIp6};
}  // namespace ip6

/// Ports of whatever transport it is: put meta::kL4Proto in the same key.
namespace th {
inline constexpr auto kSource = Field::Source::kPayload;
inline constexpr Field kSport{
    "th sport", kSource, NFT_PAYLOAD_TRANSPORT_HEADER, 0, DataType::kInetService, Needs::kNothing};
inline constexpr Field kDport{
    "th dport", kSource, NFT_PAYLOAD_TRANSPORT_HEADER, 2, DataType::kInetService, Needs::kNothing};
}  // namespace th

namespace tcp {
inline constexpr auto kSource = Field::Source::kPayload;
inline constexpr Field kDport{
    "tcp dport", kSource, NFT_PAYLOAD_TRANSPORT_HEADER, 2, DataType::kInetService, Needs::kTcp};
}  // namespace tcp

namespace udp {
inline constexpr auto kSource = Field::Source::kPayload;
inline constexpr Field kDport{
    "udp dport", kSource, NFT_PAYLOAD_TRANSPORT_HEADER, 2, DataType::kInetService, Needs::kUdp};
}  // namespace udp

namespace ct {
inline constexpr auto kSource = Field::Source::kCt;
inline constexpr Field kMark{"ct mark", kSource, NFT_CT_MARK, 0, DataType::kMark, Needs::kNothing};
inline constexpr Field kState{"ct state",         kSource,        NFT_CT_STATE, 0,
                              DataType::kCtState, Needs::kNothing};
inline constexpr Field kStatus{"ct status",         kSource,        NFT_CT_STATUS, 0,
                               DataType::kCtStatus, Needs::kNothing};
/// What the connection's first packet was addressed to, before NAT.
inline constexpr auto kOriginal = Field::Source::kCtOriginal;
inline constexpr Field kOriginalDaddr{"ct original ip daddr", kOriginal,      NFT_CT_DST_IP, 0,
                                      DataType::kIpv4Addr,    Needs::kNothing};
inline constexpr Field kOriginalDaddr6{"ct original ip6 daddr", kOriginal,      NFT_CT_DST_IP6, 0,
                                       DataType::kIpv6Addr,     Needs::kNothing};
inline constexpr Field kOriginalDport{"ct original proto-dst", kOriginal,      NFT_CT_PROTO_DST, 0,
                                      DataType::kInetService,  Needs::kNothing};
}  // namespace ct

namespace fib {
/// Compared with Value::mark(RTN_LOCAL).
inline constexpr Field kDaddrType{"fib daddr type",       Field::Source::kFib, NFTA_FIB_F_DADDR, 0,
                                  DataType::kFibAddrType, Needs::kNothing};
inline constexpr Field kSaddrType{"fib saddr type",       Field::Source::kFib, NFTA_FIB_F_SADDR, 0,
                                  DataType::kFibAddrType, Needs::kNothing};
}  // namespace fib

/// `ip saddr` or `ip6 saddr`, `ip daddr` or `ip6 daddr`.
constexpr const Field& saddr(Family family) {
  return family == Family::kV4 ? ip::kSaddr : ip6::kSaddr;
}
constexpr const Field& daddr(Family family) {
  return family == Family::kV4 ? ip::kDaddr : ip6::kDaddr;
}

/// A field, or some of its bits: `ip daddr & 255.255.255.0`; or a random number. Not a map's
/// result: the kernel would take it, but `nft list` (1.0.6) aborts on such a rule, and with it all
/// who use libnftables.
struct Operand {
  Operand(const Field& f) : field(f) {}  // NOLINT(google-explicit-constructor): mostly the field
  Operand(const Field& f, Value bits) : field(f), mask(std::move(bits)) {}
  Field field;
  Value mask = {};            // empty: all bits
  std::uint32_t modulus = 0;  // of a random number
};
/// `numgen random mod 3`: 0, 1 or 2, each as likely; a kMark. `modulus` is at least 1.
Operand randomBelow(std::uint32_t modulus);

/// A netmask of `length` bits, for Operand::mask.
Value prefixMask(Family family, std::uint8_t length);

/// What a lookup looks up: `ip saddr . ip daddr & 255.255.255.0`. Must have the set's types.
using Key = std::vector<Operand>;

enum class Op : std::uint8_t { kEqual = NFT_CMP_EQ, kNotEqual = NFT_CMP_NEQ };

/// `tcp dport 80`, `ip daddr & 255.0.0.255 != 10.0.0.1`
struct Compare {
  Operand what;
  Value value;
  Op op = Op::kEqual;
};

/// `ip daddr 224.0.0.0/4`. The field is an address of the prefix's family.
struct InPrefix {
  Field field;
  IpPrefix prefix;
  Op op = Op::kEqual;
};

/// `ip saddr . tcp dport @set`, or with kNotEqual `... != @set`.
struct InSet {
  Key key;
  std::string set;
  Op op = Op::kEqual;
};

/// `ct state established,related`: any of the bits (NF_CT_STATE_BIT, IPS_*). `names` are nft's.
struct HasBits {
  Field field;
  std::uint32_t bits = 0;
  const char* names = "";
};
inline HasBits isEstablished() {
  return {ct::kState, 0x6, "established,related"};
}
inline HasBits isInvalid() {
  return {ct::kState, 0x1, "invalid"};
}
/// The connection's destination was changed by NAT.
inline HasBits isTranslated() {
  return {ct::kStatus, 0x20, "dnat"};
}

struct Counter {};

/// `notrack`: conntrack does not look at the packet. In a base chain before it (priority raw, -300,
/// or less) of prerouting or output.
struct NoTrack {};

/// `meta mark set 0x10`, `ct mark set 0x10`: `field` is meta::kMark or ct::kMark.
struct SetMark {
  Field field;
  std::uint32_t mark = 0;
};

/// `meta mark set meta mark | 0x2000`, or with `on` false `& 0xffffdfff`: some bits, not the
/// others.
struct MarkBits {
  std::uint32_t bits = 0;
  bool on = true;
};

struct Masquerade {
  bool random = false;       // NF_NAT_RANGE_PROTO_RANDOM
  bool fullyRandom = false;  // NF_NAT_RANGE_PROTO_RANDOM_FULLY
};

/// `snat ip to 192.0.2.1`, `dnat ip6 to [fd00::1]:80`. With a port, the rule must have matched the
/// transport before.
struct Nat {
  enum class Kind : std::uint8_t { kSource = NFT_NAT_SNAT, kDestination = NFT_NAT_DNAT };
  Kind kind = Kind::kSource;
  IpAddress address;
  std::optional<std::uint16_t> port = {};
};

/// `dnat ip to meta l4proto . th dport map @map`. The map's data is `ipv4_addr . inet_service` (or
/// ipv6_addr). What is not in it goes on to the next rule.
struct DnatMap {
  Family family = Family::kV4;
  Key key;
  std::string map;
};

/// `update @set { ip saddr timeout 3h : ip daddr . th dport }`: adds the element, or begins its
/// time anew. The set is dynamic (Set::dynamicMax).
struct Update {
  std::string set;
  Key key;
  std::chrono::seconds timeout{};
  Key data = {};  // of a map
};

/// `reject`: ICMP port unreachable; `reject with tcp reset`.
struct Reject {
  bool tcpReset = false;  // needs `meta l4proto tcp` before it
};

struct Verdict {
  enum class Code : std::int32_t {
    kDrop = 0,    // NF_DROP
    kAccept = 1,  // NF_ACCEPT
    kJump = NFT_JUMP,
    kGoto = NFT_GOTO,
    kReturn = NFT_RETURN,
  };
  Code code = Code::kAccept;
  std::string chain;  // kJump, kGoto
  bool operator==(const Verdict&) const = default;
};
inline Verdict accept() {
  return {Verdict::Code::kAccept, {}};
}
inline Verdict drop() {
  return {Verdict::Code::kDrop, {}};
}
inline Verdict returnVerdict() {
  return {Verdict::Code::kReturn, {}};
}
inline Verdict jumpTo(std::string chain) {
  return {Verdict::Code::kJump, std::move(chain)};
}
inline Verdict goTo(std::string chain) {
  return {Verdict::Code::kGoto, std::move(chain)};
}

/// `tcp dport vmap @map`. Keep verdict maps small: every goto element added makes the kernel walk
/// all verdict elements of the table.
struct VerdictMap {
  Key key;
  std::string map;
};

using Statement =
    std::variant<Counter, Compare, InPrefix, InSet, VerdictMap, HasBits, NoTrack, SetMark, MarkBits,
                 Masquerade, Nat, DnatMap, Update, Reject, Verdict>;

}  // namespace culvert::nft

/// Compiled once, in nft_rule.cc: it was a fifth of the time of every file that makes rules. (All
/// of vector's members can be only if the first kind of statement has a default.)
extern template class std::vector<culvert::nft::Statement>;

namespace culvert::nft {

struct Rule {
  std::vector<Statement> statements;
  std::string comment = {};  // see kCommentBytesMax
};

/// As nft writes it, with the comment: `ip saddr @pods accept comment "x"`.
std::string toText(const Verdict& verdict);
std::string toText(const Rule& rule);

}  // namespace culvert::nft
