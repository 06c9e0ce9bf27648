#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "netlink/nft.h"
#include "netlink/nft_writer.h"

/// From values to netlink messages. For nft_connection.cc and nft_list.cc only.
namespace culvert::nft {

/// A transaction as the kernel wants it: one buffer, sent with one system call. Messages carry
/// consecutive sequence numbers; the first of them is NFNL_MSG_BATCH_BEGIN, the last one
/// NFNL_MSG_BATCH_END. Only the last operation asks for an acknowledgement: it comes when all of
/// them have been committed (or not), and errors come unasked.
struct Batch {
  /// The operation a message belongs to, and where its elements start in it.
  struct Origin {
    std::size_t operation = 0;
    std::size_t firstElement = 0;
    std::size_t offset = 0;  // of the message in `bytes`
  };
  std::string bytes;
  std::vector<Origin> origins;  // without begin and end

  std::uint32_t beginSequence = 0;
  std::uint32_t lastSequence() const {
    return beginSequence + static_cast<std::uint32_t>(origins.size());
  }
};

/// kInvalidConfig names the operation that cannot be expressed: a name or comment too long or with
/// a quote, a value of another size than its type, a rule that wants IPv4 and IPv6 at once.
Result<Batch> encode(const Transaction& transaction, std::optional<Generation> expected,
                     std::uint32_t beginSequence);

/// Which element of the message at `origin` the attribute at `offset` (NLMSGERR_ATTR_OFFS, counted
/// from the message's header) is or is part of.
std::optional<std::size_t> elementAt(const Batch& batch, const Batch::Origin& origin,
                                     std::uint32_t offset);

/// The expressions of a rule (NFTA_RULE_EXPRESSIONS' content).
Result<void> encodeRule(Writer& out, TableFamily family, const Rule& rule);

/// nft's TYPE_BITS: how concatenations are packed in NFTA_SET_KEY_TYPE.
inline constexpr unsigned kTypeBits = 6;

}  // namespace culvert::nft
