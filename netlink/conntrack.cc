#include "netlink/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace culvert::conntrack {
namespace {

using netlink::Attributes;
using netlink::Batch;
using netlink::Reply;

/// Deletions sent together: their acknowledgements must fit the default receive buffer.
constexpr std::size_t kDeletionsAtOnce = 100;

/// Bits of CTA_FILTER_*_FLAGS, which the uapi headers lack (CTA_FILTER_F_* in the kernel's
/// nf_internals.h).
constexpr std::uint32_t kFilterSource = 1U << 0;
constexpr std::uint32_t kFilterDestination = 1U << 1;
constexpr std::uint32_t kFilterProtocol = 1U << 3;
constexpr std::uint32_t kFilterSourcePort = 1U << 4;
constexpr std::uint32_t kFilterDestinationPort = 1U << 5;

std::uint16_t conntrackMessage(int message) {
  return static_cast<std::uint16_t>((NFNL_SUBSYS_CTNETLINK << 8) | message);
}

nfgenmsg headerFor(Family family) {
  return {static_cast<std::uint8_t>(family), NFNETLINK_V0, 0};
}

int addressAttribute(Family family, bool source) {
  if (family == Family::kV4) return source ? CTA_IP_V4_SRC : CTA_IP_V4_DST;
  return source ? CTA_IP_V6_SRC : CTA_IP_V6_DST;
}

std::uint16_t type(int attribute) {
  return static_cast<std::uint16_t>(attribute);
}

std::uint16_t portIn(const Attributes& protocol, std::uint16_t attribute) {
  return ntohs(protocol.u16(attribute).value_or(0));
}

std::optional<Tuple> parseTuple(Family family, const Attributes& tuple) {
  const Attributes ip = tuple.nested(CTA_TUPLE_IP);
  const Attributes protocol = tuple.nested(CTA_TUPLE_PROTO);
  const auto source = ip.address(type(addressAttribute(family, true)), family);
  const auto destination = ip.address(type(addressAttribute(family, false)), family);
  if (!source || !destination || !protocol.has(CTA_PROTO_NUM)) return std::nullopt;
  return Tuple{*source, *destination, portIn(protocol, CTA_PROTO_SRC_PORT),
               portIn(protocol, CTA_PROTO_DST_PORT)};
}

/// What is asked of one direction, as the kernel's filter wants it.
struct TupleFilter {
  std::optional<IpAddress> source = {};
  std::optional<IpAddress> destination = {};
  std::optional<std::uint16_t> sourcePort = {};
  std::optional<std::uint16_t> destinationPort = {};

  std::uint32_t flags(const Filter& filter) const {
    std::uint32_t flags = 0;
    // Linux 5.8 to 6.18 at least leave out the IPv6 addresses that match, instead of the others.
    const bool byAddress = filter.family == Family::kV4;
    if (byAddress && source) flags |= kFilterSource;
    if (byAddress && destination) flags |= kFilterDestination;
    if (!filter.protocol) return flags;  // without it, the kernel cannot tell where ports are
    flags |= kFilterProtocol;
    if (sourcePort) flags |= kFilterSourcePort;
    if (destinationPort) flags |= kFilterDestinationPort;
    return flags;
  }
};

/// Before "ctnetlink: fix filtering with CTA_TUPLE_REPLY" (5.16), the kernel read the wrong flags.
bool kernelFiltersReplies() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return std::pair(major, minor) >= std::pair(5, 16);
}

void putPort(Batch& batch, int attribute, const std::optional<std::uint16_t>& port) {
  if (port) batch.putU16(type(attribute), htons(*port));
}

void putTuple(Batch& batch, int attribute, const Filter& filter, const TupleFilter& tuple) {
  const auto nest = batch.nest(type(attribute));
  {
    const auto ip = batch.nest(CTA_TUPLE_IP);
    if (tuple.source) batch.putAddress(type(addressAttribute(filter.family, true)), *tuple.source);
    if (tuple.destination)
      batch.putAddress(type(addressAttribute(filter.family, false)), *tuple.destination);
  }
  if (!filter.protocol) return;
  const auto protocol = batch.nest(CTA_TUPLE_PROTO);
  batch.putU8(CTA_PROTO_NUM, *filter.protocol);
  putPort(batch, CTA_PROTO_SRC_PORT, tuple.sourcePort);
  putPort(batch, CTA_PROTO_DST_PORT, tuple.destinationPort);
}

void putFilter(Batch& batch, const Filter& filter) {
  const TupleFilter original{
      filter.originalSource, filter.originalDestination, {}, filter.originalDestinationPort};
  const TupleFilter reply{filter.replySource, {}, filter.replySourcePort, {}};
  const std::uint32_t originalFlags = original.flags(filter);
  const std::uint32_t replyFlags = kernelFiltersReplies() ? reply.flags(filter) : 0;
  if (originalFlags == 0 && replyFlags == 0) return;
  if (originalFlags != 0) putTuple(batch, CTA_TUPLE_ORIG, filter, original);
  if (replyFlags != 0) putTuple(batch, CTA_TUPLE_REPLY, filter, reply);
  const auto nest = batch.nest(CTA_FILTER);
  batch.putU32(CTA_FILTER_ORIG_FLAGS, originalFlags);  // host order
  batch.putU32(CTA_FILTER_REPLY_FLAGS, replyFlags);
}

Batch listing(const Filter& filter, bool filtered) {
  Batch batch;
  batch.begin(conntrackMessage(IPCTNL_MSG_CT_GET), NLM_F_DUMP, headerFor(filter.family));
  if (filtered) putFilter(batch, filter);
  return batch;
}

void appendDeletion(Batch& batch, const Entry& entry) {
  batch.begin(conntrackMessage(IPCTNL_MSG_CT_DELETE), 0, headerFor(entry.family));
  batch.put(CTA_TUPLE_ORIG | NLA_F_NESTED, entry.rawOriginal.data(), entry.rawOriginal.size());
  if (entry.zone) batch.put(CTA_ZONE, entry.zone->data(), entry.zone->size());
  batch.putU32(CTA_ID, htonl(entry.id));
}

template <class T>
bool agrees(const std::optional<T>& wanted, const T& value) {
  return !wanted || *wanted == value;
}

std::string endpointText(const IpAddress& address, std::uint16_t port) {
  if (port == 0) return address.text();
  const bool v6 = address.family() == Family::kV6;
  return (v6 ? '[' + address.text() + ']' : address.text()) + ':' + std::to_string(port);
}

std::string protocolText(std::uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_SCTP:
      return "sctp";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

}  // namespace

bool Filter::matches(const Entry& entry) const {
  return family == entry.family && agrees(protocol, entry.protocol) &&
         agrees(originalSource, entry.original.source) &&
         agrees(originalDestination, entry.original.destination) &&
         agrees(originalDestinationPort, entry.original.destinationPort) &&
         agrees(replySource, entry.reply.source) && agrees(replySourcePort, entry.reply.sourcePort);
}

bool Filter::matchesEverything() const {
  return !protocol && !originalSource && !originalDestination && !originalDestinationPort &&
         !replySource && !replySourcePort;
}

std::string toText(const Entry& entry) {
  const Tuple& original = entry.original;
  return protocolText(entry.protocol) + ' ' + endpointText(original.source, original.sourcePort) +
         " > " + endpointText(original.destination, original.destinationPort) + ", answered by " +
         endpointText(entry.reply.source, entry.reply.sourcePort);
}

std::optional<Entry> parseEntry(Family family, const Attributes& attributes) {
  const Attributes originalBytes = attributes.nested(CTA_TUPLE_ORIG);
  const auto original = parseTuple(family, originalBytes);
  const auto reply = parseTuple(family, attributes.nested(CTA_TUPLE_REPLY));
  if (!original || !reply) return std::nullopt;
  Entry entry;
  entry.family = family;
  entry.protocol = originalBytes.nested(CTA_TUPLE_PROTO).u8(CTA_PROTO_NUM).value_or(0);
  entry.original = *original;
  entry.reply = *reply;
  entry.mark = ntohl(attributes.u32(CTA_MARK).value_or(0));
  entry.id = ntohl(attributes.u32(CTA_ID).value_or(0));
  entry.rawOriginal = attributes.find(CTA_TUPLE_ORIG).value_or("");
  const auto zone = attributes.find(CTA_ZONE);
  if (zone) entry.zone = std::string(*zone);
  return entry;
}

Result<Connection> Connection::open() {
  return Connection(TRY(netlink::Socket::open(NETLINK_NETFILTER)));
}

Result<Connection> Connection::openIn(const NetNs& ns) {
  return Connection(TRY(netlink::Socket::openIn(ns, NETLINK_NETFILTER)));
}

Result<std::vector<Entry>> Connection::list(const Filter& filter) {
  Batch filtered = listing(filter, true);
  auto replies = socket_.dump(filtered);
  const int err = replies ? 0 : replies.error().sysErrno;
  if (err == EINVAL || err == EOPNOTSUPP) {  // this kernel filters otherwise, or not at all
    Batch all = listing(filter, false);
    replies = socket_.dump(all);
  }
  std::vector<Entry> entries;
  for (const Reply& reply : TRY(std::move(replies).context("conntrack: list"))) {
    if (reply.header<nfgenmsg>().nfgen_family != static_cast<std::uint8_t>(filter.family)) continue;
    auto entry = parseEntry(filter.family, reply.attributes(sizeof(nfgenmsg)));
    if (entry && filter.matches(*entry)) entries.push_back(*std::move(entry));
  }
  return entries;
}

Result<std::size_t> Connection::remove(const std::vector<Entry>& entries) {
  std::size_t removed = 0;
  FirstError failures;
  for (std::size_t first = 0; first < entries.size(); first += kDeletionsAtOnce) {
    const std::size_t end = std::min(first + kDeletionsAtOnce, entries.size());
    Batch batch;
    for (std::size_t i = first; i < end; ++i)
      appendDeletion(batch, entries[i]);
    auto answers = TRY(socket_.transact(batch).context("conntrack: remove"));
    for (std::size_t i = 0; i < answers.size(); ++i) {
      removed += answers[i].status.has_value() ? 1 : 0;
      failures.note(ignoreNotFound(std::move(answers[i].status))
                        .context("conntrack: remove " + toText(entries[first + i])));
    }
  }
  TRY(std::move(failures).take());
  return removed;
}

Result<std::size_t> Connection::removeMatching(const Filter& filter) {
  if (filter.matchesEverything())
    return makeError(Errc::kInvalidConfig, "conntrack: refusing to remove every entry");
  return remove(TRY(list(filter)));
}

}  // namespace culvert::conntrack
