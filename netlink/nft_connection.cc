#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netlink/hand_over.h"
#include "netlink/nft_encode.h"

namespace culvert::nft {
namespace {

using netlink::Attributes;
using netlink::Reply;

/// Socket numbers its own requests from 1; batches keep out of its way.
constexpr std::uint32_t kFirstSequence = 0x80000000;
/// The kernel's default (net.core.wmem_default) is enough up to here.
constexpr std::size_t kDefaultSendBytes = std::size_t{128} * 1024;

/// What the kernel says about one message of a batch.
struct Outcome {
  std::uint32_t sequence = 0;
  int error = 0;  // positive errno, or 0
  std::string extendedAck;
  std::optional<std::uint32_t> badAttribute;
};

std::optional<Outcome> parseOutcome(const Reply& reply) {
  const auto ack = reply.header<nlmsgerr>();
  if (reply.type != NLMSG_ERROR || reply.payload.size() < sizeof ack) return std::nullopt;
  Outcome outcome{ack.msg.nlmsg_seq, -ack.error, {}, {}};
  if ((reply.flags & NLM_F_ACK_TLVS) == 0) return outcome;
  std::size_t skip = sizeof ack;
  if ((reply.flags & NLM_F_CAPPED) == 0 && ack.msg.nlmsg_len > sizeof(nlmsghdr))
    skip += NLMSG_ALIGN(ack.msg.nlmsg_len - sizeof(nlmsghdr));
  const Attributes attributes = reply.attributes(skip);
  outcome.extendedAck = attributes.string(NLMSGERR_ATTR_MSG).value_or("");
  outcome.badAttribute = attributes.u32(NLMSGERR_ATTR_OFFS);
  return outcome;
}

/// A batch is one message to the socket, so the send buffer must hold it whole. Forcing it needs
/// CAP_NET_ADMIN in the initial user namespace; without, net.core.wmem_max is the limit.
void growSendBuffer(int fd, std::size_t bytes) {
  if (bytes <= kDefaultSendBytes) return;
  const int size = static_cast<int>(std::min<std::size_t>(bytes, INT32_MAX / 2));
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == 0) return;
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/// The operation in nft's words, down to the element where the kernel pointed at one.
std::string culprit(const Transaction& transaction, const Batch& batch, const Outcome& outcome) {
  const std::uint32_t index = outcome.sequence - batch.beginSequence - 1;
  if (index >= batch.origins.size()) return "transaction";
  const Batch::Origin& origin = batch.origins[index];
  const Transaction::Operation& operation = transaction.operations()[origin.operation];
  const auto* elements = std::get_if<Transaction::ElementsOf>(&operation.what);
  if (elements == nullptr || !outcome.badAttribute) return toText(operation, 1);
  const auto at = elementAt(batch, origin, *outcome.badAttribute);
  if (!at || *at >= elements->elements.size()) return toText(operation, 1);
  return toText(Transaction::Operation{
      operation.verb, Transaction::ElementsOf{elements->set, {elements->elements[*at]}}});
}

Error toError(const Transaction& transaction, const Batch& batch, const Outcome& outcome) {
  Error error = fromErrno(outcome.error, "nft: " + culprit(transaction, batch, outcome));
  if (outcome.error == ERESTART) {
    error.code = Errc::kTryAgain;
    error.message = "nft: the ruleset has changed since it was read";
  }
  error.details = outcome.extendedAck;
  if (!error.details.empty()) error.message += " (" + error.details + ")";
  return error;
}

/// What the kernel has said about the batch so far.
struct Outcomes {
  std::optional<Outcome> failure;  // of the first message that failed
  bool complete = false;           // the last message has been answered

  void note(const Batch& batch, const Reply& reply) {
    const auto outcome = parseOutcome(reply);
    const std::uint32_t last = batch.lastSequence();
    // Whatever answers an earlier batch is not ours.
    if (!outcome || outcome->sequence - batch.beginSequence > last - batch.beginSequence) return;
    if (outcome->error != 0 && !failure) failure = outcome;
    if (outcome->sequence == last) complete = true;
  }
};

/// The kernel says everything before send returns. The first message that failed counts; an error
/// of the batch as a whole carries begin's number, and then nothing may follow.
Result<void> readOutcomes(netlink::Socket& socket, const Transaction& transaction,
                          const Batch& batch) {
  Outcomes outcomes;
  bool overrun = false;
  while (!outcomes.complete) {
    auto replies = socket.receiveRaw(0);
    const bool isFirstOverrun = !replies && replies.error().sysErrno == ENOBUFS && !overrun;
    if (isFirstOverrun) {  // later errors were dropped, the first ones are still to be read
      overrun = true;
      continue;
    }
    if (!replies && !outcomes.failure) return std::move(replies).error().wrap("nft: transaction");
    if (!replies) break;
    for (const Reply& reply : *replies)
      outcomes.note(batch, reply);
  }
  if (outcomes.failure) return toError(transaction, batch, *outcomes.failure);
  return {};
}

}  // namespace

Result<Connection> Connection::open() {
  return Connection(TRY(netlink::Socket::open(NETLINK_NETFILTER)));
}

Result<Connection> Connection::openIn(const NetNs& ns) {
  return Connection(TRY(netlink::Socket::openIn(ns, NETLINK_NETFILTER)));
}

Result<Connection> Connection::openBriefly() {
  Connection connection = TRY(open());
  connection.brief_ = true;
  return connection;
}

Connection::~Connection() {
  if (!brief_ || !socket_.isBound()) return;
  std::vector<int> sockets{socket_.fd()};
  if (second_) sockets.push_back(second_->fd());
  netlink::handOver(sockets);
}

Result<void> Connection::commit(const Transaction& transaction,
                                std::optional<Generation> expected) {
  if (transaction.empty()) return {};
  const Batch batch = TRY(encode(transaction, expected, kFirstSequence | nextSequence_));
  nextSequence_ += static_cast<std::uint32_t>(batch.origins.size()) + 2;
  growSendBuffer(socket_.fd(), batch.bytes.size());
  TRY(socket_.sendRaw(batch.bytes)
          .context("nft: transaction of " + std::to_string(batch.bytes.size()) + " bytes"));
  return readOutcomes(socket_, transaction, batch);
}

}  // namespace culvert::nft
