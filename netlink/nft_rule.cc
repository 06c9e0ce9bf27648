#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter/nf_nat.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "netlink/nft_encode.h"

template class std::vector<culvert::nft::Statement>;

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
  Result<void> operator()(const HasBits& match);
  Result<void> operator()(const Counter&);
  Result<void> operator()(const NoTrack&);
  Result<void> operator()(const SetMark& set);
  Result<void> operator()(const MarkBits& mark);
  Result<void> operator()(const Masquerade& masquerade);
  Result<void> operator()(const Nat& nat);
  Result<void> operator()(const DnatMap& nat);
  Result<void> operator()(const Update& update);
  Result<void> operator()(const Reject& reject);
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
  Result<void> require(const Key& key);
  Result<void> loadKey(const Key& key);
  /// Returns the first register behind it.
  Result<std::size_t> loadOperands(const Key& key, std::size_t first);

  void load(const Operand& operand, std::uint32_t reg);
  void loadField(const Field& field, std::uint32_t reg);
  void loadRandom(std::uint32_t modulus, std::uint32_t reg);
  void loadMeta(std::uint32_t selector, std::uint32_t reg);
  void loadPayload(const Field& field, std::size_t bytes, std::uint32_t reg);
  void bitwiseAnd(std::uint32_t reg, const Value& mask);
  void bitwise(std::uint32_t reg, const Value& mask, const Value& flip);
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

void RuleEncoder::loadField(const Field& field, std::uint32_t reg) {
  switch (field.source) {
    case Field::Source::kMeta:
      loadMeta(field.selector, reg);
      break;
    case Field::Source::kPayload:
      loadPayload(field, typeBytes(field.type), reg);
      break;
    case Field::Source::kCt:
    case Field::Source::kCtOriginal:
      expression("ct", [&] {
        out_.putU32(NFTA_CT_KEY, field.selector);
        out_.putU32(NFTA_CT_DREG, reg);
        if (field.source == Field::Source::kCtOriginal) out_.putU8(NFTA_CT_DIRECTION, 0);
      });
      break;
    case Field::Source::kFib:
      expression("fib", [&] {
        out_.putU32(NFTA_FIB_FLAGS, field.selector);
        out_.putU32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        out_.putU32(NFTA_FIB_DREG, reg);
      });
      break;
    case Field::Source::kRandom:
      break;  // loadRandom()
  }
}

void RuleEncoder::loadRandom(std::uint32_t modulus, std::uint32_t reg) {
  expression("numgen", [&] {
    out_.putU32(NFTA_NG_DREG, reg);
    out_.putU32(NFTA_NG_MODULUS, modulus);
    out_.putU32(NFTA_NG_TYPE, NFT_NG_RANDOM);
    out_.putU32(NFTA_NG_OFFSET, 0);
  });
}

void RuleEncoder::load(const Operand& operand, std::uint32_t reg) {
  if (operand.field.source == Field::Source::kRandom)
    loadRandom(operand.modulus, reg);
  else
    loadField(operand.field, reg);
  if (!operand.mask.empty()) bitwiseAnd(reg, operand.mask);
}

void RuleEncoder::bitwiseAnd(std::uint32_t reg, const Value& mask) {
  const std::string zeros(mask.size(), '\0');
  bitwise(reg, mask, {zeros.data(), zeros.size()});
}

void RuleEncoder::bitwise(std::uint32_t reg, const Value& mask, const Value& flip) {
  expression("bitwise", [&] {
    out_.putU32(NFTA_BITWISE_SREG, reg);
    out_.putU32(NFTA_BITWISE_DREG, reg);
    out_.putU32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
    putValue(out_, NFTA_BITWISE_MASK, mask);
    putValue(out_, NFTA_BITWISE_XOR, flip);
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

Result<void> checkOperand(const Operand& operand) {
  const bool isRandom = operand.field.source == Field::Source::kRandom;
  if (isRandom && operand.modulus == 0)
    return makeError(Errc::kInvalidConfig, "a random number below 0");
  if (operand.mask.empty() || operand.mask.size() == typeBytes(operand.field.type)) return {};
  return makeError(Errc::kInvalidConfig,
                   std::string("the mask of '") + operand.field.text + "' has the wrong size");
}

/// Checks come before the first register is loaded: each uses it.
Result<void> RuleEncoder::require(const Key& key) {
  for (const Operand& operand : key) {
    TRY(checkOperand(operand));
    TRY(require(operand.field.needs));
  }
  return {};
}

Result<void> RuleEncoder::loadKey(const Key& key) {
  TRY(require(key));
  TRY(loadOperands(key, 0));
  return {};
}

Result<std::size_t> RuleEncoder::loadOperands(const Key& key, std::size_t first) {
  std::size_t reg = first;
  for (const Operand& operand : key) {
    const std::size_t count = (typeBytes(operand.field.type) + kRegisterBytes - 1) / kRegisterBytes;
    if (reg + count > kRegisterCount)
      return makeError(Errc::kInvalidConfig, "the key is longer than the 64 bytes of registers");
    load(operand, static_cast<std::uint32_t>(NFT_REG32_00 + reg));
    reg += count;
  }
  return reg;
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

Result<void> RuleEncoder::operator()(const HasBits& match) {
  load({match.field, Value::mark(match.bits)}, NFT_REG32_00);
  compare(Op::kNotEqual, Value::mark(0));
  return {};
}

Result<void> RuleEncoder::operator()(const MarkBits& mark) {
  loadMeta(NFT_META_MARK, NFT_REG32_00);
  bitwise(NFT_REG32_00, Value::mark(~mark.bits), Value::mark(mark.on ? mark.bits : 0));
  expression("meta", [&] {
    out_.putU32(NFTA_META_KEY, NFT_META_MARK);
    out_.putU32(NFTA_META_SREG, NFT_REG32_00);
  });
  return {};
}

Result<void> RuleEncoder::operator()(const Counter&) {
  expression("counter", [] {});
  return {};
}

Result<void> RuleEncoder::operator()(const NoTrack&) {
  expression("notrack", [] {});
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

Result<void> RuleEncoder::operator()(const DnatMap& nat) {
  TRY(loadKey(nat.key));
  lookup(nat.map, Op::kEqual, NFT_REG32_00);
  const std::size_t registers = addressBytes(nat.family) / kRegisterBytes;
  expression("nat", [&] {
    out_.putU32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
    out_.putU32(NFTA_NAT_FAMILY, static_cast<std::uint32_t>(nat.family));
    out_.putU32(NFTA_NAT_REG_ADDR_MIN, NFT_REG32_00);
    out_.putU32(NFTA_NAT_REG_PROTO_MIN, static_cast<std::uint32_t>(NFT_REG32_00 + registers));
  });
  return {};
}

Result<void> RuleEncoder::operator()(const Update& update) {
  TRY(require(update.key));
  TRY(require(update.data));
  const std::size_t data = TRY(loadOperands(update.key, 0));
  TRY(loadOperands(update.data, data));
  const std::chrono::milliseconds timeout = update.timeout;
  expression("dynset", [&] {
    out_.putString(NFTA_DYNSET_SET_NAME, update.set);
    out_.putU32(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    out_.putU32(NFTA_DYNSET_SREG_KEY, NFT_REG32_00);
    if (!update.data.empty())
      out_.putU32(NFTA_DYNSET_SREG_DATA, static_cast<std::uint32_t>(NFT_REG32_00 + data));
    out_.putU64(NFTA_DYNSET_TIMEOUT, static_cast<std::uint64_t>(timeout.count()));
  });
  return {};
}

Result<void> RuleEncoder::operator()(const Reject& reject) {
  if (reject.tcpReset && protocol_ != IPPROTO_TCP)
    return makeError(Errc::kInvalidConfig, "a TCP reset needs a rule about TCP");
  expression("reject", [&] {
    out_.putU32(NFTA_REJECT_TYPE, reject.tcpReset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
    out_.putU8(NFTA_REJECT_ICMP_CODE, reject.tcpReset ? 0 : NFT_REJECT_ICMPX_PORT_UNREACH);
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

Operand randomBelow(std::uint32_t modulus) {
  Operand operand(Field{"numgen random", Field::Source::kRandom, 0, 0, DataType::kMark});
  operand.modulus = modulus;
  return operand;
}

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
