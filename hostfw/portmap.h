#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "hostfw/owner.h"
#include "netlink/nft.h"
#include "netlink/nft_rule.h"

/// Port mappings: what comes to a port of the host goes to a container. Both families; TCP, UDP and
/// SCTP; from outside, from containers and from the host itself.
///
/// All of it is in the table `inet culvert_cni` (hostfw/README.md): chains that do not grow with
/// containers and a few map elements for each port, whose comments name the owner. Contract and
/// errors are those of hostfw/masquerade.h: idempotent, atomic, kTryAgain after five seconds of
/// conflicts.
namespace culvert::hostfw {

/// A port, or `count` consecutive ones, of the host and the ports they lead to.
struct PortMapping {
  std::uint8_t protocol = 0;        // IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP
  std::optional<IpAddress> hostIp;  // absent: every address of the host, of the container's family
  std::uint16_t hostPort = 0;
  std::uint16_t containerPort = 0;
  std::uint16_t count = 1;
  IpPrefix container;  // address, with its subnet's length

  bool operator==(const PortMapping&) const = default;
};

/// `tcp 192.0.2.1:8080 to 10.1.0.2:80`
std::string toText(const PortMapping& mapping);

/// How all mappings of an attachment are done.
struct PortmapOptions {
  /// What comes from the container's own subnet, or from the host's 127.0.0.0/8, is masqueraded:
  /// the answer would not find back otherwise.
  bool snat = true;
  bool masqueradeAll = false;  // with snat: from everywhere
  std::uint8_t markBit = 13;   // 0..31, set on packets to be masqueraded, from dnat to postrouting
  /// A packet is only mapped if these match as well. Attachments of a network with the same
  /// conditions share chains and maps, others have theirs.
  std::vector<nft::Statement> conditionsV4 = {};
  std::vector<nft::Statement> conditionsV6 = {};
  /// The interface that leads to the container: gets route_localnet, and a filter that drops what
  /// comes in by it to or from 127.0.0.0/8. Empty: neither.
  std::string localnetInterface = {};
};

/// Maps exactly `mappings`, none of which may overlap, for `owner`. A port held by another owner
/// is taken over: the runtime has given it to us, so that one must be gone.
Result<void> ensurePortmap(nft::Connection& nft, const Owner& owner,
                           const std::vector<PortMapping>& mappings, const PortmapOptions& options);

/// Forgets all mappings of `owner`, but none that another owner has taken over; and the table with
/// the last element in it. Returns those that were recorded.
Result<std::vector<PortMapping>> removePortmap(nft::Connection& nft, const Owner& owner);

/// kCheckFailed names the first mapping, or part of the frame around them, that is missing.
Result<void> checkPortmap(nft::Connection& nft, const Owner& owner,
                          const std::vector<PortMapping>& mappings, const PortmapOptions& options);

/// Removes the mappings of attachments of `network` that are not in `valid`. Returns them.
Result<std::vector<PortMapping>> collectPortmap(nft::Connection& nft, const std::string& network,
                                                const std::set<Attachment>& valid);

}  // namespace culvert::hostfw
