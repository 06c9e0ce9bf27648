#include "netlink/nft_encode.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

namespace culvert::nft {
namespace {

/// An attribute's length is 16 bits; one element stays well below 1 KiB.
constexpr std::size_t kElementListBytesMax = 0xffff - 1024;
constexpr std::size_t kElementBytesUsual = 128;
constexpr std::size_t kNameBytesMax = NFT_NAME_MAXLEN - 1;
/// libnftnl's and nft's enum byteorder.
constexpr std::uint32_t kHostOrder = 1;
constexpr std::uint32_t kNetworkOrder = 2;

using Verb = Transaction::Verb;

Result<void> checkName(const std::string& name) {
  if (!name.empty() && name.size() <= kNameBytesMax) return {};
  return makeError(Errc::kInvalidConfig,
                   "a name must have 1 to 255 bytes, not " + std::to_string(name.size()));
}

Result<void> checkComment(const std::string& comment) {
  if (comment.size() > kCommentBytesMax) {
    return makeError(Errc::kInvalidConfig,
                     "a comment has at most 128 bytes, not " + std::to_string(comment.size()));
  }
  const bool fine = std::all_of(comment.begin(), comment.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= ' ' && byte != 0x7f && c != '"';
  });
  if (fine) return {};
  return makeError(Errc::kInvalidConfig,
                   "nft cannot print this comment: control character or quote");
}

std::uint32_t packedType(const TypeList& types) {
  if (types.size() == 1 && types.front() == DataType::kVerdict) return NFT_DATA_VERDICT;
  std::uint32_t packed = 0;
  for (const DataType type : types)
    packed = packed << kTypeBits | static_cast<std::uint32_t>(type);
  return packed;
}

/// nft needs it to print numbers; concatenations have none of their own.
std::uint32_t byteOrder(const TypeList& types) {
  if (types.size() != 1) return 0;
  const DataType type = types.front();
  return type == DataType::kMark || type == DataType::kIfName ? kHostOrder : kNetworkOrder;
}

std::string commentUserdata(std::uint8_t type, const std::string& comment) {
  std::string userdata;
  if (!comment.empty()) appendUserdata(userdata, type, comment.c_str(), comment.size() + 1);
  return userdata;
}

/// NFT_TABLE_F_OWNER (Linux 5.12), NFT_TABLE_F_PERSIST (6.9; not in older headers).
constexpr std::uint32_t kOwnedAndPersistent = 0x2 | 0x4;

class Encoder {
 public:
  Encoder(Batch& batch, std::optional<Generation> expected)
      : batch_(batch), out_(batch.bytes), sequence_(batch.beginSequence) {
    const std::size_t start =
        out_.beginMessage(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, sequence_++, batchHeader());
    if (expected) out_.putU32(NFNL_BATCH_GENID, *expected);
    out_.endMessage(start);
  }

  Result<void> encodeAll(const Transaction& transaction) {
    for (const auto& operation : transaction.operations()) {
      verb_ = operation.verb;
      Result<void> encoded =
          std::visit([&](const auto& what) { return encode(what); }, operation.what);
      if (!encoded) return std::move(encoded).context("nft: " + toText(operation, 1)).error();
      ++operation_;
    }
    return {};
  }

  void finish() {
    if (!batch_.origins.empty()) acknowledgeLast();
    out_.endMessage(out_.beginMessage(NFNL_MSG_BATCH_END, NLM_F_REQUEST, sequence_, batchHeader()));
  }

 private:
  static nfgenmsg batchHeader() { return {AF_UNSPEC, NFNETLINK_V0, htons(NFNL_SUBSYS_NFTABLES)}; }

  template <class Body>
  void message(int type, TableFamily family, Body body) {
    unsigned flags = NLM_F_REQUEST;
    if (verb_ == Verb::kAdd || verb_ == Verb::kCreate || verb_ == Verb::kInsert ||
        verb_ == Verb::kOwn)
      flags |= NLM_F_CREATE;
    if (verb_ == Verb::kCreate) flags |= NLM_F_EXCL;
    if (type == NFT_MSG_NEWRULE && verb_ == Verb::kAdd) flags |= NLM_F_APPEND;
    batch_.origins.push_back({operation_, 0, batch_.bytes.size()});
    const nfgenmsg header{static_cast<std::uint8_t>(family), NFNETLINK_V0, 0};
    const std::size_t start = out_.beginMessage(nftMessage(type), flags, sequence_++, header);
    body();
    out_.endMessage(start);
  }

  void acknowledgeLast() {
    const std::size_t at = batch_.origins.back().offset + offsetof(nlmsghdr, nlmsg_flags);
    std::uint16_t flags = 0;
    std::memcpy(&flags, batch_.bytes.data() + at, sizeof flags);
    flags |= NLM_F_ACK;
    std::memcpy(batch_.bytes.data() + at, &flags, sizeof flags);
  }

  Result<void> encode(const Table& table) {
    TRY(checkName(table.name));
    if (verb_ == Verb::kFlush) {  // removes the rules of all chains
      message(NFT_MSG_DELRULE, table.family, [&] { out_.putString(NFTA_RULE_TABLE, table.name); });
      return {};
    }
    const int type = verb_ == Verb::kRemove ? NFT_MSG_DELTABLE : NFT_MSG_NEWTABLE;
    message(type, table.family, [&] {
      out_.putString(NFTA_TABLE_NAME, table.name);
      if (verb_ == Verb::kOwn) out_.putU32(NFTA_TABLE_FLAGS, kOwnedAndPersistent);
    });
    return {};
  }

  Result<void> encode(const Chain& chain) {
    TRY(checkName(chain.name));
    const TableFamily family = chain.table.family;
    if (verb_ == Verb::kFlush) {
      message(NFT_MSG_DELRULE, family, [&] {
        out_.putString(NFTA_RULE_TABLE, chain.table.name);
        out_.putString(NFTA_RULE_CHAIN, chain.name);
      });
      return {};
    }
    const bool removed = verb_ == Verb::kRemove;
    message(removed ? NFT_MSG_DELCHAIN : NFT_MSG_NEWCHAIN, family, [&] {
      out_.putString(NFTA_CHAIN_TABLE, chain.table.name);
      out_.putString(NFTA_CHAIN_NAME, chain.name);
      if (chain.hook && !removed) putHook(*chain.hook);
    });
    return {};
  }

  void putHook(const Hook& hook) {
    static constexpr const char* kTypes[] = {"filter", "nat", "route"};
    out_.nest(NFTA_CHAIN_HOOK, [&] {
      out_.putU32(NFTA_HOOK_HOOKNUM, static_cast<std::uint32_t>(hook.point));
      out_.putU32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(hook.priority));
    });
    out_.putU32(NFTA_CHAIN_POLICY, static_cast<std::uint32_t>(hook.policy));
    out_.putString(NFTA_CHAIN_TYPE, kTypes[static_cast<std::size_t>(hook.type)]);
  }

  Result<void> encode(const Transaction::RuleOf& what) {
    TRY(checkComment(what.rule.comment));
    const bool removed = verb_ == Verb::kRemove;
    Result<void> outcome;
    message(removed ? NFT_MSG_DELRULE : NFT_MSG_NEWRULE, what.chain.table.family, [&] {
      out_.putString(NFTA_RULE_TABLE, what.chain.table.name);
      out_.putString(NFTA_RULE_CHAIN, what.chain.name);
      if (removed) return out_.putU64(NFTA_RULE_HANDLE, what.handle);
      out_.nest(NFTA_RULE_EXPRESSIONS,
                [&] { outcome = encodeRule(out_, what.chain.table.family, what.rule); });
      putUserdata(NFTA_RULE_USERDATA, commentUserdata(kUserdataRuleComment, what.rule.comment));
    });
    return outcome;
  }

  void putUserdata(int type, const std::string& userdata) {
    if (!userdata.empty()) out_.put(type, userdata.data(), userdata.size());
  }

  Result<void> encode(const Set& set) {
    TRY(checkName(set.name));
    TRY(checkComment(set.comment));
    const TableFamily family = set.table.family;
    if (verb_ == Verb::kFlush) {
      message(NFT_MSG_DELSETELEM, family, [&] { putSetName(set); });
      return {};
    }
    if (verb_ == Verb::kRemove) {
      message(NFT_MSG_DELSET, family, [&] {
        out_.putString(NFTA_SET_TABLE, set.table.name);
        out_.putString(NFTA_SET_NAME, set.name);
      });
      return {};
    }
    if (set.key.empty() || typeBytes(set.key) > NFT_DATA_VALUE_MAXLEN)
      return makeError(Errc::kInvalidConfig, "a set's key has 1 to 64 bytes");
    message(NFT_MSG_NEWSET, family, [&] { putDeclaration(set); });
    return {};
  }

  void putDeclaration(const Set& set) {
    std::uint32_t flags = 0;
    if (!set.data.empty()) flags |= NFT_SET_MAP;
    if (set.hasTimeout) flags |= NFT_SET_TIMEOUT;
    if (set.dynamicMax != 0) flags |= NFT_SET_EVAL;
    out_.putString(NFTA_SET_TABLE, set.table.name);
    out_.putString(NFTA_SET_NAME, set.name);
    out_.putU32(NFTA_SET_FLAGS, flags);
    out_.putU32(NFTA_SET_KEY_TYPE, packedType(set.key));
    out_.putU32(NFTA_SET_KEY_LEN, static_cast<std::uint32_t>(typeBytes(set.key)));
    if (!set.data.empty()) {
      out_.putU32(NFTA_SET_DATA_TYPE, packedType(set.data));
      out_.putU32(NFTA_SET_DATA_LEN, static_cast<std::uint32_t>(typeBytes(set.data)));
    }
    out_.putU32(NFTA_SET_ID, ++setId_);
    if (set.dynamicMax != 0)
      out_.nest(NFTA_SET_DESC, [&] { out_.putU32(NFTA_SET_DESC_SIZE, set.dynamicMax); });
    std::string userdata;
    const std::uint32_t keyOrder = byteOrder(set.key);
    const std::uint32_t dataOrder = byteOrder(set.data);
    appendUserdata(userdata, kUserdataSetKeyByteOrder, &keyOrder, sizeof keyOrder);
    if (!set.data.empty())
      appendUserdata(userdata, kUserdataSetDataByteOrder, &dataOrder, sizeof dataOrder);
    userdata += commentUserdata(kUserdataSetComment, set.comment);
    putUserdata(NFTA_SET_USERDATA, userdata);
  }

  void putSetName(const Set& set) {
    out_.putString(NFTA_SET_ELEM_LIST_TABLE, set.table.name);
    out_.putString(NFTA_SET_ELEM_LIST_SET, set.name);
  }

  Result<void> checkElement(const Set& set, const Element& element) const {
    if (element.key.size() != typeBytes(set.key))
      return makeError(Errc::kInvalidConfig, "the key does not have the set's type");
    TRY(checkComment(element.comment));
    if (verb_ == Verb::kRemove) return {};
    const auto* value = std::get_if<Value>(&element.data);
    const std::size_t dataBytes = value == nullptr ? 0 : value->size();
    if (dataBytes == typeBytes(set.data) &&
        std::holds_alternative<std::monostate>(element.data) == set.data.empty()) {
      return {};
    }
    return makeError(Errc::kInvalidConfig, "the data does not have the map's type");
  }

  void putElement(const Element& element) {
    out_.nest(NFTA_LIST_ELEM, [&] {
      putValue(out_, NFTA_SET_ELEM_KEY, element.key);
      if (verb_ == Verb::kRemove) return;
      if (const auto* value = std::get_if<Value>(&element.data))
        putValue(out_, NFTA_SET_ELEM_DATA, *value);
      if (const auto* verdict = std::get_if<Verdict>(&element.data))
        putVerdict(out_, NFTA_SET_ELEM_DATA, *verdict);
      if (element.timeout.count() != 0) {
        out_.putU64(NFTA_SET_ELEM_TIMEOUT, static_cast<std::uint64_t>(element.timeout.count()));
      }
      putUserdata(NFTA_SET_ELEM_USERDATA,
                  commentUserdata(kUserdataElementComment, element.comment));
    });
  }

  Result<void> encode(const Transaction::ElementsOf& what) {
    for (const Element& element : what.elements) {
      Result<void> checked = checkElement(what.set, element);
      if (!checked) return std::move(checked).context(toText(what.set, element));
    }
    const std::size_t likely = what.elements.size() * kElementBytesUsual;
    if (batch_.bytes.capacity() - batch_.bytes.size() < likely)
      batch_.bytes.reserve(batch_.bytes.size() + likely + batch_.bytes.capacity());
    const int type = verb_ == Verb::kRemove ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM;
    for (std::size_t next = 0; next < what.elements.size();) {
      const std::size_t first = next;
      message(type, what.set.table.family, [&] {
        putSetName(what.set);
        const std::size_t list = out_.beginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
        while (next < what.elements.size() && batch_.bytes.size() - list < kElementListBytesMax)
          putElement(what.elements[next++]);
        out_.endNest(list);
      });
      batch_.origins.back().firstElement = first;
    }
    return {};
  }

  Batch& batch_;
  Writer out_;
  std::uint32_t sequence_;
  std::uint32_t setId_ = 0;
  std::size_t operation_ = 0;
  Verb verb_ = Verb::kAdd;
};

}  // namespace

std::optional<std::size_t> elementAt(const Batch& batch, const Batch::Origin& origin,
                                     std::uint32_t offset) {
  const char* message = batch.bytes.data() + origin.offset;
  const auto readAttribute = [&](std::size_t at) {
    nlattr attribute{};
    std::memcpy(&attribute, message + at, sizeof attribute);
    return attribute;
  };
  nlmsghdr header{};
  std::memcpy(&header, message, sizeof header);
  std::size_t at = NLMSG_HDRLEN + sizeof(nfgenmsg);
  while (at < header.nlmsg_len &&
         (readAttribute(at).nla_type & NLA_TYPE_MASK) != NFTA_SET_ELEM_LIST_ELEMENTS) {
    at += NLA_ALIGN(readAttribute(at).nla_len);
  }
  std::size_t element = origin.firstElement;
  for (at += NLA_HDRLEN; at < header.nlmsg_len; ++element) {
    const std::size_t next = at + NLA_ALIGN(readAttribute(at).nla_len);
    if (offset >= at && offset < next) return element;
    at = next;
  }
  return std::nullopt;
}

Result<Batch> encode(const Transaction& transaction, std::optional<Generation> expected,
                     std::uint32_t beginSequence) {
  Batch batch;
  batch.beginSequence = beginSequence;
  Encoder encoder(batch, expected);
  TRY(encoder.encodeAll(transaction));
  encoder.finish();
  return batch;
}

}  // namespace culvert::nft
