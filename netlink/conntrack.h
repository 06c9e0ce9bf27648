#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/netns.h"
#include "base/result.h"
#include "netlink/socket.h"

/// The kernel's connection tracking table (ctnetlink), to take out entries that have become wrong:
/// a UDP flow keeps going where its first packet was translated to, for as long as it lasts.
namespace culvert::conntrack {

/// One direction of a flow. Ports are 0 for protocols that have none.
struct Tuple {
  IpAddress source;
  IpAddress destination;
  std::uint16_t sourcePort = 0;
  std::uint16_t destinationPort = 0;
  bool operator==(const Tuple&) const = default;
};

struct Entry {
  Family family = Family::kV4;
  std::uint8_t protocol = 0;  // IPPROTO_*
  Tuple original;             // as the first packet was sent
  Tuple reply;                // as answers are expected: original, turned round, after translation
  std::uint32_t mark = 0;
  std::uint32_t id = 0;
  std::string rawOriginal;          // CTA_TUPLE_ORIG as the kernel gave it, whatever the protocol
  std::optional<std::string> zone;  // CTA_ZONE likewise
};

/// Which entries: those for which everything that is given is so. Nothing given: all of the family.
struct Filter {
  Family family = Family::kV4;
  std::optional<std::uint8_t> protocol = {};
  std::optional<IpAddress> originalSource = {};
  std::optional<IpAddress> originalDestination = {};
  std::optional<std::uint16_t> originalDestinationPort = {};
  /// Who answers: the real destination behind a translated one.
  std::optional<IpAddress> replySource = {};
  std::optional<std::uint16_t> replySourcePort = {};

  bool matches(const Entry& entry) const;
  bool matchesEverything() const;
};

/// `udp 10.0.0.1:5000 > 192.0.2.1:53, answered by 10.1.0.2:53`
std::string toText(const Entry& entry);

/// A ctnetlink socket of one namespace. Not thread-safe. Errors carry errno and extended ACK.
class Connection {
 public:
  static Result<Connection> open();
  static Result<Connection> openIn(const NetNs& ns);
  /// On a netfilter socket that is there already (nft::Connection::share()).
  static Connection on(netlink::Socket socket) { return Connection(std::move(socket)); }

  /// The kernel filters by what it gets right (CTA_FILTER, Linux 5.8; not by IPv6 addresses), and
  /// we look again: the answer is exact either way, only slower without. Entries that come or go
  /// meanwhile may be in it or not.
  Result<std::vector<Entry>> list(const Filter& filter);

  /// Removes the entries of exactly these flows and zones. Those that are gone already are success.
  /// Tries all of them and returns how many it removed, or the failures.
  Result<std::size_t> remove(const std::vector<Entry>& entries);

  /// list() and remove(). Refuses a filter that matches everything (kInvalidConfig).
  Result<std::size_t> removeMatching(const Filter& filter);

 private:
  explicit Connection(netlink::Socket socket) : socket_(std::move(socket)) {}
  netlink::Socket socket_;
};

/// An entry from the attributes of an IPCTNL_MSG_CT_NEW; absent if they make none of the family.
std::optional<Entry> parseEntry(Family family, const netlink::Attributes& attributes);

}  // namespace culvert::conntrack
