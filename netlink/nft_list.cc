#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "netlink/nft_encode.h"

namespace culvert::nft {
namespace {

using netlink::Attributes;
using netlink::Reply;

/// Queries sent together: their answers must fit the default receive buffer.
constexpr std::size_t kQueriesAtOnce = 64;

nfgenmsg headerFor(TableFamily family) {
  return {static_cast<std::uint8_t>(family), NFNETLINK_V0, 0};
}

Attributes attributesOf(const Reply& reply) {
  return reply.attributes(sizeof(nfgenmsg));
}

std::uint32_t number(const Attributes& attributes, std::uint16_t type) {
  return ntohl(attributes.u32(type).value_or(0));
}

std::string text(const Attributes& attributes, std::uint16_t type) {
  return attributes.string(type).value_or("");
}

std::string commentIn(const Attributes& attributes, std::uint16_t type, std::uint8_t userdataType) {
  const auto comment = findUserdata(attributes.find(type).value_or(""), userdataType);
  if (!comment) return {};
  return std::string(comment->substr(0, comment->find('\0')));
}

Value valueIn(const Attributes& data) {
  const std::string_view bytes = data.find(NFTA_DATA_VALUE).value_or("");
  return {bytes.data(), bytes.size()};
}

Verdict verdictIn(const Attributes& data) {
  const Attributes verdict = data.nested(NFTA_DATA_VERDICT);
  return {static_cast<Verdict::Code>(number(verdict, NFTA_VERDICT_CODE)),
          text(verdict, NFTA_VERDICT_CHAIN)};
}

Element parseElement(std::string_view bytes) {
  const Attributes attributes(bytes);
  Element element;
  element.key = valueIn(attributes.nested(NFTA_SET_ELEM_KEY));
  const Attributes data = attributes.nested(NFTA_SET_ELEM_DATA);
  if (data.has(NFTA_DATA_VALUE)) element.data = valueIn(data);
  if (data.has(NFTA_DATA_VERDICT)) element.data = verdictIn(data);
  element.comment = commentIn(attributes, NFTA_SET_ELEM_USERDATA, kUserdataElementComment);
  const std::uint64_t timeout = be64toh(attributes.u64(NFTA_SET_ELEM_TIMEOUT).value_or(0));
  element.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(timeout));
  return element;
}

void appendElements(const Reply& reply, std::vector<Element>& elements) {
  attributesOf(reply).nested(NFTA_SET_ELEM_LIST_ELEMENTS).forEach([&](auto type, auto bytes) {
    if (type == NFTA_LIST_ELEM) elements.push_back(parseElement(bytes));
  });
}

/// Undoes packedType(); empty if one of the types is not ours.
TypeList parseTypes(std::uint32_t packed) {
  static constexpr DataType kKnown[] = {
      DataType::kIpv4Addr,    DataType::kIpv6Addr, DataType::kEtherAddr, DataType::kInetProto,
      DataType::kInetService, DataType::kMark,     DataType::kIfName};
  TypeList types;
  for (; packed != 0; packed >>= kTypeBits) {
    const auto type = static_cast<DataType>(packed & ((1U << kTypeBits) - 1));
    if (std::find(std::begin(kKnown), std::end(kKnown), type) == std::end(kKnown)) return {};
    types.insert(types.begin(), type);
  }
  return types;
}

Set parseSet(const Table& table, const Attributes& attributes) {
  Set set{table, text(attributes, NFTA_SET_NAME), {}, {}, false, {}};
  const std::uint32_t flags = number(attributes, NFTA_SET_FLAGS);
  set.hasTimeout = (flags & NFT_SET_TIMEOUT) != 0;
  set.comment = commentIn(attributes, NFTA_SET_USERDATA, kUserdataSetComment);
  constexpr std::uint32_t kOurs = NFT_SET_TIMEOUT | NFT_SET_MAP | NFT_SET_EVAL;
  if ((flags & ~kOurs) != 0) return set;
  set.key = parseTypes(number(attributes, NFTA_SET_KEY_TYPE));
  if (attributes.has(NFTA_SET_DATA_TYPE)) {
    const std::uint32_t data = number(attributes, NFTA_SET_DATA_TYPE);
    set.data = data == NFT_DATA_VERDICT ? TypeList{DataType::kVerdict} : parseTypes(data);
    if (set.data.empty()) set.key.clear();
  }
  return set;
}

std::optional<Hook> parseHook(const Attributes& chain) {
  if (!chain.has(NFTA_CHAIN_HOOK)) return std::nullopt;
  const Attributes hook = chain.nested(NFTA_CHAIN_HOOK);
  Hook result;
  const std::string type = text(chain, NFTA_CHAIN_TYPE);
  result.type = type == "nat"     ? Hook::Type::kNat
                : type == "route" ? Hook::Type::kRoute
                                  : Hook::Type::kFilter;
  result.point = static_cast<Hook::Point>(number(hook, NFTA_HOOK_HOOKNUM));
  result.priority = static_cast<std::int32_t>(number(hook, NFTA_HOOK_PRIORITY));
  result.policy = static_cast<Hook::Policy>(number(chain, NFTA_CHAIN_POLICY));
  return result;
}

void noteVerdict(const Attributes& immediate, Connection::RuleHandle& rule) {
  const Attributes data = immediate.nested(NFTA_IMMEDIATE_DATA);
  if (data.has(NFTA_DATA_VALUE)) rule.constants.push_back(valueIn(data));
  if (!data.has(NFTA_DATA_VERDICT)) return;
  const Verdict verdict = verdictIn(data);
  rule.verdict = verdict.code;
  rule.target = verdict.chain;
}

Connection::RuleHandle parseRule(const Attributes& attributes) {
  Connection::RuleHandle rule;
  rule.handle = be64toh(attributes.u64(NFTA_RULE_HANDLE).value_or(0));
  rule.comment = commentIn(attributes, NFTA_RULE_USERDATA, kUserdataRuleComment);
  attributes.nested(NFTA_RULE_EXPRESSIONS).forEach([&](auto, auto bytes) {
    const Attributes expression(bytes);
    const std::string name = text(expression, NFTA_EXPR_NAME);
    const Attributes data = expression.nested(NFTA_EXPR_DATA);
    if (name == "immediate") noteVerdict(data, rule);
    if (name == "match" && text(data, NFTA_MATCH_NAME) == "comment")
      rule.comment = data.string(NFTA_MATCH_INFO).value_or("");  // iptables' own way
    if (name == "cmp") rule.constants.push_back(valueIn(data.nested(NFTA_CMP_DATA)));
  });
  return rule;
}

/// A family whose tables the kernel does not know at all (EAFNOSUPPORT, EOPNOTSUPP) has no chain,
/// and a name that is too long (ERANGE) is nobody's.
Result<void> ignoreUnknown(Result<void> status) {
  const int err = status ? 0 : status.error().sysErrno;
  if (err == EAFNOSUPPORT || err == EOPNOTSUPP || err == ERANGE) return {};
  return ignoreNotFound(std::move(status));
}

void requestChain(netlink::Batch& batch, const Chain& chain) {
  batch.begin(nftMessage(NFT_MSG_GETCHAIN), 0, headerFor(chain.table.family));
  batch.putString(NFTA_CHAIN_TABLE, chain.table.name);
  batch.putString(NFTA_CHAIN_NAME, chain.name);
}

netlink::Batch dumpRequest(int message, TableFamily family) {
  netlink::Batch batch;
  batch.begin(nftMessage(message), NLM_F_DUMP, headerFor(family));
  return batch;
}

std::string listingOf(const Set& set) {
  return "nft: list set " + toText(set.table) + ' ' + set.name;
}

std::string elementDumpBytes(const Set& set) {
  std::string request;
  Writer out(request);
  const std::size_t start = out.beginMessage(
      nftMessage(NFT_MSG_GETSETELEM), NLM_F_REQUEST | NLM_F_DUMP, 1, headerFor(set.table.family));
  out.putString(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
  out.putString(NFTA_SET_ELEM_LIST_SET, set.name);
  out.endMessage(start);
  return request;
}

/// A second socket in the namespace of the first (SIOCGSKNS, ioctl_ns(2)).
Result<netlink::Socket> sibling(const netlink::Socket& socket) {
  const UniqueFd ns(::ioctl(socket.fd(), SIOCGSKNS));
  if (!ns) return fromErrno(errno, "namespace of the netlink socket");
  const NetNs home = TRY(NetNs::open("/proc/self/fd/" + std::to_string(ns.get())));
  return netlink::Socket::openIn(home, NETLINK_NETFILTER);
}

}  // namespace

Result<Generation> Connection::generation() {
  netlink::Batch batch;
  batch.begin(nftMessage(NFT_MSG_GETGEN), 0, headerFor(TableFamily{}));
  for (netlink::Answer& answer : TRY(socket_.transact(batch))) {
    TRY(std::move(answer.status).context("nft: generation"));
    for (const Reply& reply : answer.replies)
      return number(attributesOf(reply), NFTA_GEN_ID);
  }
  return makeError(Errc::kIo, "nft: generation: no answer");
}

Result<std::vector<Table>> Connection::listTables() {
  netlink::Batch batch = dumpRequest(NFT_MSG_GETTABLE, TableFamily{});
  std::vector<Table> tables;
  for (const Reply& reply : TRY(socket_.dump(batch).context("nft: list tables"))) {
    const auto family = static_cast<TableFamily>(reply.header<nfgenmsg>().nfgen_family);
    tables.push_back({family, text(attributesOf(reply), NFTA_TABLE_NAME)});
  }
  return tables;
}

Result<std::vector<Chain>> Connection::listChains(const Table& table) {
  netlink::Batch batch = dumpRequest(NFT_MSG_GETCHAIN, table.family);
  batch.putString(NFTA_CHAIN_TABLE, table.name);
  std::vector<Chain> chains;
  for (const Reply& reply : TRY(socket_.dump(batch).context("nft: list chains " + toText(table)))) {
    const Attributes attributes = attributesOf(reply);
    if (text(attributes, NFTA_CHAIN_TABLE) != table.name) continue;  // kernels before 6.2
    chains.push_back({table, text(attributes, NFTA_CHAIN_NAME), parseHook(attributes)});
  }
  return chains;
}

Result<std::vector<Set>> Connection::listSets(const Table& table) {
  netlink::Batch batch = dumpRequest(NFT_MSG_GETSET, table.family);
  batch.putString(NFTA_SET_TABLE, table.name);
  std::vector<Set> sets;
  for (const Reply& reply : TRY(socket_.dump(batch).context("nft: list sets " + toText(table))))
    sets.push_back(parseSet(table, attributesOf(reply)));
  return sets;
}

Result<std::vector<Connection::RuleHandle>> Connection::listRules(const Chain& chain) {
  netlink::Batch batch = dumpRequest(NFT_MSG_GETRULE, chain.table.family);
  batch.putString(NFTA_RULE_TABLE, chain.table.name);
  batch.putString(NFTA_RULE_CHAIN, chain.name);
  std::vector<RuleHandle> rules;
  const std::string doing = "nft: list chain " + toText(chain.table) + ' ' + chain.name;
  for (const Reply& reply : TRY(socket_.dump(batch).context(doing)))
    rules.push_back(parseRule(attributesOf(reply)));
  return rules;
}

Result<std::vector<bool>> Connection::findChains(const std::vector<Chain>& chains) {
  netlink::Batch batch;
  std::vector<bool> found;
  if (chains.empty()) return found;
  for (const Chain& chain : chains)
    requestChain(batch, chain);
  for (netlink::Answer& answer : TRY(socket_.transact(batch))) {
    found.push_back(answer.status.has_value());
    TRY(ignoreUnknown(std::move(answer.status)).context("nft: get chain"));
  }
  return found;
}

Result<std::optional<Chain>> Connection::findChain(const Chain& chain) {
  netlink::Batch batch;
  requestChain(batch, chain);
  for (netlink::Answer& answer : TRY(socket_.transact(batch))) {
    TRY(ignoreUnknown(std::move(answer.status)).context("nft: get chain"));
    for (const Reply& reply : answer.replies)
      return Chain{chain.table, chain.name, parseHook(attributesOf(reply))};
  }
  return std::optional<Chain>();
}

Result<std::vector<Element>> Connection::listElements(const Set& set) {
  netlink::Batch batch = dumpRequest(NFT_MSG_GETSETELEM, set.table.family);
  batch.putString(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
  batch.putString(NFTA_SET_ELEM_LIST_SET, set.name);
  std::vector<Element> elements;
  for (const Reply& reply : TRY(socket_.dump(batch).context(listingOf(set))))
    appendElements(reply, elements);
  return elements;
}

Result<bool> Connection::anyElement(const Set& set,
                                    const std::function<bool(const Element&)>& wanted) {
  // A dump cannot be called off, so one that we leave early spoils its socket for others; and
  // closing a socket of nf_tables waits for a grace period of RCU if anybody has just removed
  // something. Hence a second socket, kept.
  if (!idle_) second_.reset();
  if (!second_) second_ = std::make_unique<netlink::Socket>(TRY(sibling(socket_)));
  idle_ = false;
  TRY(second_->sendRaw(elementDumpBytes(set)));
  for (;;) {
    for (const Reply& reply : TRY(second_->receiveRaw(-1))) {
      if (reply.type == NLMSG_ERROR || reply.type == NLMSG_DONE) idle_ = true;
      if (reply.type == NLMSG_ERROR)
        TRY(netlink::parseAck(reply.payload, reply.flags).context(listingOf(set)));
      if (idle_) return false;
      std::vector<Element> elements;
      appendElements(reply, elements);
      if (std::any_of(elements.begin(), elements.end(), wanted)) return true;
    }
  }
}

Result<std::vector<bool>> Connection::findSets(const std::vector<Set>& sets) {
  netlink::Batch batch;
  for (const Set& set : sets) {
    batch.begin(nftMessage(NFT_MSG_GETSET), 0, headerFor(set.table.family));
    batch.putString(NFTA_SET_TABLE, set.table.name);
    batch.putString(NFTA_SET_NAME, set.name);
  }
  std::vector<bool> found;
  for (netlink::Answer& answer : TRY(socket_.transact(batch))) {
    found.push_back(answer.status.has_value());
    TRY(ignoreNotFound(std::move(answer.status)).context("nft: get set"));
  }
  return found;
}

Result<std::vector<std::optional<Element>>> Connection::findElements(
    const std::vector<ElementQuery>& queries) {
  std::vector<std::optional<Element>> found;
  for (std::size_t first = 0; first < queries.size(); first += kQueriesAtOnce) {
    netlink::Batch batch;
    const std::size_t end = std::min(first + kQueriesAtOnce, queries.size());
    for (std::size_t i = first; i < end; ++i) {
      const auto& [set, key] = queries[i];
      batch.begin(nftMessage(NFT_MSG_GETSETELEM), 0, headerFor(set.table.family));
      batch.putString(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
      batch.putString(NFTA_SET_ELEM_LIST_SET, set.name);
      const auto list = batch.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
      const auto element = batch.nest(NFTA_LIST_ELEM);
      const auto data = batch.nest(NFTA_SET_ELEM_KEY);
      batch.put(NFTA_DATA_VALUE, key.bytes().data(), key.size());
    }
    for (netlink::Answer& answer : TRY(socket_.transact(batch))) {
      TRY(ignoreNotFound(std::move(answer.status)).context("nft: get element"));
      std::vector<Element> elements;
      for (const Reply& reply : answer.replies)
        appendElements(reply, elements);
      found.push_back(elements.empty() ? std::nullopt : std::optional(std::move(elements.front())));
    }
  }
  return found;
}

}  // namespace culvert::nft
