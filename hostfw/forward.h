#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "hostfw/owner.h"
#include "netlink/nft.h"

/// What the host forwards for containers: everything from them, and what belongs to connections
/// they have to them, even where an iptables FORWARD chain would drop it; and, with a policy,
/// nothing between containers of different bridges, or of the same one.
///
/// All of it is in the table `inet culvert_cni` (hostfw/README.md), for the policy between ports of
/// one bridge in `bridge culvert_cni`, and where `ip filter` or `ip6 filter` have a chain FORWARD,
/// in one rule there (forward_gate.h). Contract and errors are those of hostfw/masquerade.h.
namespace culvert::hostfw {

enum class IngressPolicy { kOpen, kSameBridge, kIsolated };

struct ForwardOptions {
  /// A chain for operators, in front of everything else. Created empty, never changed.
  std::string adminChain = "CNI-ADMIN";
  bool dropInvalid = false;  // what connection tracking cannot make sense of
  IngressPolicy policy = IngressPolicy::kOpen;
  std::string bridge = {};  // with a policy: the interface by which containers are reached
  std::vector<std::string> ports = {};  // kIsolated: those of the bridge that are the container's
};

/// Forwards for exactly `addresses` of `owner`. An address held by another owner is taken over.
Result<void> ensureForward(nft::Connection& nft, const Owner& owner,
                           const std::vector<IpAddress>& addresses, const ForwardOptions& options);

/// Forgets what `owner` has, and the tables and rules with the last owner.
Result<void> removeForward(nft::Connection& nft, const Owner& owner);

/// kCheckFailed names what is missing.
Result<void> checkForward(nft::Connection& nft, const Owner& owner,
                          const std::vector<IpAddress>& addresses, const ForwardOptions& options);

/// Forgets the attachments of `network` that are not in `valid`.
Result<void> collectForward(nft::Connection& nft, const std::string& network,
                            const std::set<Attachment>& valid);

/// Whether an operator's chain can have this name: iptables must take it, and it must not be ours.
bool canBeAdminChain(const std::string& name);

}  // namespace culvert::hostfw
