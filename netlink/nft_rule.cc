#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter/nf_nat.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "netlink/nft_encode.h"

/// Statements become the expressions nft makes of them: `nft --debug=netlink list ruleset` prints
/// the same for our rules as for nft's own (nft_kernel_test.cc).
namespace culvert::nft {
namespace {

/// Fields go to consecutive 32-bit registers, each statement beginning at the first.
constexpr std::size_t kRegisterBytes = 4;
constexpr std::size_t kRegisterCount = NFT_REG32_COUNT;

class RuleEncoder {
 public:
  RuleEncoder(Writer& out, TableFamily family) : out_(out), family_(family) {}

  Result<void> operator()(const Compare& compare);
  Result<void> operator()(const InPrefix& match);
  Result<void> operator()(const InSet& match);
  Result<void> operator()(const VerdictMap& map);
  Result<void> operator()(const Counter&);
  Result<void> operator()(const SetMark& set);
  Result<void> operator()(const Masquerade& masquerade);
  Result<void> operator()(const Nat& nat);
  Result<void> operator()(const Verdict& verdict);

 private:
  /// An expression's name and attributes.
  template <class Body>
  void expression(const char* name, Body body) {
    out_.nest(NFTA_LIST_ELEM, [&] {
      out_.putString(NFTA_EXPR_NAME, name);
      out_.nest(NFTA_EXPR_DATA, body);
    });
  }

  Result<void> require(Needs needs);
  Result<void> requireNetwork(std::uint8_t nfproto, std::uint16_t etherType);
  Result<void> requireTransport(std::uint8_t protocol);
  Result<void> learn(const Compare& compare);
  Result<void> loadKey(const Key& key);

  void load(const Operand& operand, std::uint32_t reg);
  void loadMeta(std::uint32_t selector, std::uint32_t reg);
  void loadPayload(const Field& field, std::size_t bytes, std::uint32_t reg);
  void bitwiseAnd(std::uint32_t reg, const Value& mask);
  void compare(Op op, const Value& value);
  void immediate(std::uint32_t reg, const Value& value);
  void lookup(const std::string& set, Op op, std::optional<std::uint32_t> into);

  Writer& out_;
  TableFamily family_;
  std::optional<std::uint8_t> nfproto_;   // what the rule is known to be about
  std::optional<std::uint8_t> protocol_;  // transport
};

Result<void> conflict(const char* what) {
  return makeError(Errc::kInvalidConfig, std::string("the rule wants two different ") + what);
}

/// Remembers `value`; false if it was already known, error if it was known to be another.
template <class T>
Result<bool> establish(std::optional<T>& known, T value, const char* what) {
  if (known && *known != value) return conflict(what).error();
  const bool news = !known;
  known = value;
  return news;
}

Result<void> RuleEncoder::requireNetwork(std::uint8_t nfproto, std::uint16_t etherType) {
  if (family_ == TableFamily::kIp && !nfproto_) nfproto_ = NFPROTO_IPV4;
  if (family_ == TableFamily::kIp6 && !nfproto_) nfproto_ = NFPROTO_IPV6;
  if (!TRY(establish(nfproto_, nfproto, "network protocols"))) return {};
  if (family_ == TableFamily::kInet) {  // meta nfproto ipv4
    loadMeta(NFT_META_NFPROTO, NFT_REG32_00);
    compare(Op::kEqual, {&nfproto, sizeof nfproto});
    return {};
  }
  const std::uint16_t network = htons(etherType);  // meta protocol ip
  loadMeta(NFT_META_PROTOCOL, NFT_REG32_00);
  compare(Op::kEqual, {&network, sizeof network});
  return {};
}

Result<void> RuleEncoder::requireTransport(std::uint8_t protocol) {
  if (!TRY(establish(protocol_, protocol, "transport protocols"))) return {};
  loadMeta(NFT_META_L4PROTO, NFT_REG32_00);  // meta l4proto tcp
  compare(Op::kEqual, Value::protocol(protocol));
  return {};
}

Result<void> RuleEncoder::require(Needs needs) {
  switch (needs) {
    case Needs::kNothing:
      return {};
    case Needs::kEther:
      if (family_ == TableFamily::kBridge || family_ == TableFamily::kNetdev) return {};
      return makeError(Errc::kInvalidConfig, "Ethernet fields need a bridge or netdev table");
    case Needs::kIp:
      return requireNetwork(NFPROTO_IPV4, ETH_P_IP);
    case Needs::kIp6:
      return requireNetwork(NFPROTO_IPV6, ETH_P_IPV6);
    case Needs::kTcp:
      return requireTransport(IPPROTO_TCP);
    case Needs::kUdp:
      return requireTransport(IPPROTO_UDP);
  }
  return {};
}

/// `meta nfproto ipv4` said by the rule itself need not be said again.
Result<void> RuleEncoder::learn(const Compare& compare) {
  const Field& field = compare.what.field;
  const bool isMeta = field.source == Field::Source::kMeta;
  if (!isMeta || compare.op != Op::kEqual || !compare.what.mask.empty()) return {};
  const auto value = static_cast<std::uint8_t>(compare.value.bytes()[0]);
  if (field.selector == NFT_META_NFPROTO) TRY(establish(nfproto_, value, "network protocols"));
  if (field.selector == NFT_META_L4PROTO) TRY(establish(protocol_, value, "transport protocols"));
  return {};
}

void RuleEncoder::loadMeta(std::uint32_t selector, std::uint32_t reg) {
  expression("meta", [&] {
    out_.putU32(NFTA_META_KEY, selector);
    out_.putU32(NFTA_META_DREG, reg);
  });
}

void RuleEncoder::loadPayload(const Field& field, std::size_t bytes, std::uint32_t reg) {
  expression("payload", [&] {
    out_.putU32(NFTA_PAYLOAD_DREG, reg);
    out_.putU32(NFTA_PAYLOAD_BASE, field.selector);
    out_.putU32(NFTA_PAYLOAD_OFFSET, field.offset);
    out_.putU32(NFTA_PAYLOAD_LEN, static_cast<std::uint32_t>(bytes));
  });
}

void RuleEncoder::load(const Operand& operand, std::uint32_t reg) {
  const Field& field = operand.field;
  switch (field.source) {
    case Field::Source::kMeta:
      loadMeta(field.selector, reg);
      break;
    case Field::Source::kPayload:
      loadPayload(field, typeBytes(field.type), reg);
      break;
    case Field::Source::kCt:
      expression("ct", [&] {
        out_.putU32(NFTA_CT_KEY, field.selector);
        out_.putU32(NFTA_CT_DREG, reg);
      });
      break;
  }
  if (!operand.mask.empty()) bitwiseAnd(reg, operand.mask);
}

void RuleEncoder::bitwiseAnd(std::uint32_t reg, const Value& mask) {
  const std::string zeros(mask.size(), '\0');
  expression("bitwise", [&] {
    out_.putU32(NFTA_BITWISE_SREG, reg);
    out_.putU32(NFTA_BITWISE_DREG, reg);
    out_.putU32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
    putValue(out_, NFTA_BITWISE_MASK, mask);
    putValue(out_, NFTA_BITWISE_XOR, {zeros.data(), zeros.size()});
  });
}

void RuleEncoder::compare(Op op, const Value& value) {
  expression("cmp", [&] {
    out_.putU32(NFTA_CMP_SREG, NFT_REG32_00);
    out_.putU32(NFTA_CMP_OP, static_cast<std::uint32_t>(op));
    putValue(out_, NFTA_CMP_DATA, value);
  });
}

void RuleEncoder::immediate(std::uint32_t reg, const Value& value) {
  expression("immediate", [&] {
    out_.putU32(NFTA_IMMEDIATE_DREG, reg);
    putValue(out_, NFTA_IMMEDIATE_DATA, value);
  });
}

void RuleEncoder::lookup(const std::string& set, Op op, std::optional<std::uint32_t> into) {
  expression("lookup", [&] {
    out_.putString(NFTA_LOOKUP_SET, set);
    out_.putU32(NFTA_LOOKUP_SREG, NFT_REG32_00);
    if (into) out_.putU32(NFTA_LOOKUP_DREG, *into);
    if (op == Op::kNotEqual) out_.putU32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  });
}

Result<void> checkMask(const Operand& operand) {
  if (operand.mask.empty() || operand.mask.size() == typeBytes(operand.field.type)) return {};
  return makeError(Errc::kInvalidConfig,
                   std::string("the mask of '") + operand.field.text + "' has the wrong size");
}

Result<void> RuleEncoder::loadKey(const Key& key) {
  for (const Operand& operand : key) {
    TRY(checkMask(operand));
    TRY(require(operand.field.needs));
  }
  std::size_t reg = 0;
  for (const Operand& operand : key) {
    const std::size_t count = (typeBytes(operand.field.type) + kRegisterBytes - 1) / kRegisterBytes;
    if (reg + count > kRegisterCount)
      return makeError(Errc::kInvalidConfig, "the key is longer than the 64 bytes of registers");
    load(operand, static_cast<std::uint32_t>(NFT_REG32_00 + reg));
    reg += count;
  }
  return {};
}

Result<void> RuleEncoder::operator()(const Compare& match) {
  const DataType type = match.what.field.type;
  const bool isNamePrefix = type == DataType::kIfName && match.value.size() < typeBytes(type);
  if (match.value.empty() || (match.value.size() != typeBytes(type) && !isNamePrefix)) {
    return makeError(Errc::kInvalidConfig,
                     std::string("'") + match.what.field.text + "' is compared with another type");
  }
  TRY(loadKey({match.what}));
  compare(match.op, match.value);
  return learn(match);
}

Result<void> RuleEncoder::operator()(const InPrefix& match) {
  if (match.field.type != addressType(match.prefix.family())) {
    return makeError(Errc::kInvalidConfig,
                     std::string("'") + match.field.text + "' is compared with another family");
  }
  TRY(require(match.field.needs));
  const IpAddress network = match.prefix.network().address();
  const bool wholeBytes = match.prefix.length() % 8 == 0 && match.prefix.length() != 0;
  if (wholeBytes) {  // shorter to load and compare, and what nft does
    const std::size_t bytes = match.prefix.length() / 8;
    loadPayload(match.field, bytes, NFT_REG32_00);
    compare(match.op, {network.bytes(), bytes});
    return {};
  }
  loadPayload(match.field, network.size(), NFT_REG32_00);
  bitwiseAnd(NFT_REG32_00, prefixMask(match.prefix.family(), match.prefix.length()));
  compare(match.op, network);
  return {};
}

Result<void> RuleEncoder::operator()(const InSet& match) {
  TRY(loadKey(match.key));
  lookup(match.set, match.op, std::nullopt);
  return {};
}

Result<void> RuleEncoder::operator()(const VerdictMap& map) {
  TRY(loadKey(map.key));
  lookup(map.map, Op::kEqual, NFT_REG_VERDICT);
  return {};
}

Result<void> RuleEncoder::operator()(const Counter&) {
  expression("counter", [] {});
  return {};
}

Result<void> RuleEncoder::operator()(const SetMark& set) {
  const bool isCt = set.field.source == Field::Source::kCt;
  if (set.field.type != DataType::kMark)
    return makeError(Errc::kInvalidConfig, std::string("'") + set.field.text + "' is not a mark");
  immediate(NFT_REG32_00, Value::mark(set.mark));
  expression(isCt ? "ct" : "meta", [&] {
    out_.putU32(isCt ? int{NFTA_CT_KEY} : int{NFTA_META_KEY}, set.field.selector);
    out_.putU32(isCt ? int{NFTA_CT_SREG} : int{NFTA_META_SREG}, NFT_REG32_00);
  });
  return {};
}

Result<void> RuleEncoder::operator()(const Masquerade& masquerade) {
  std::uint32_t flags = 0;
  if (masquerade.random) flags |= NF_NAT_RANGE_PROTO_RANDOM;
  if (masquerade.fullyRandom) flags |= NF_NAT_RANGE_PROTO_RANDOM_FULLY;
  expression("masq", [&] {
    if (flags != 0) out_.putU32(NFTA_MASQ_FLAGS, flags);
  });
  return {};
}

Result<void> RuleEncoder::operator()(const Nat& nat) {
  const std::uint32_t address = NFT_REG_1;
  const std::uint32_t port = NFT_REG_2;
  immediate(address, nat.address);
  if (nat.port) immediate(port, Value::port(*nat.port));
  expression("nat", [&] {
    out_.putU32(NFTA_NAT_TYPE, static_cast<std::uint32_t>(nat.kind));
    out_.putU32(NFTA_NAT_FAMILY, static_cast<std::uint32_t>(nat.address.family()));
    out_.putU32(NFTA_NAT_REG_ADDR_MIN, address);
    if (nat.port) out_.putU32(NFTA_NAT_REG_PROTO_MIN, port);
  });
  return {};
}

Result<void> RuleEncoder::operator()(const Verdict& verdict) {
  expression("immediate", [&] {
    out_.putU32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    putVerdict(out_, NFTA_IMMEDIATE_DATA, verdict);
  });
  return {};
}

}  // namespace

Value prefixMask(Family family, std::uint8_t length) {
  std::string mask(addressBytes(family), '\0');
  for (std::size_t bit = 0; bit < length; ++bit)
    mask[bit / 8] =
        static_cast<char>(static_cast<unsigned char>(mask[bit / 8]) | (0x80U >> bit % 8));
  return {mask.data(), mask.size()};
}

Result<void> encodeRule(Writer& out, TableFamily family, const Rule& rule) {
  RuleEncoder encoder(out, family);
  for (const Statement& statement : rule.statements)
    TRY(std::visit(encoder, statement));
  return {};
}

}  // namespace culvert::nft
