#pragma once

#include <string>

#include "base/result.h"
#include "netlink/nft.h"

/// iptables (with nf_tables behind it) has chains FORWARD of its own, in the tables `ip filter` and
/// `ip6 filter`, whose policy is often DROP: docker's, ufw's. What our table accepts is not
/// accepted there, so one rule per family goes there, in the chain that the reference's plugin
/// uses:
///
///     -A FORWARD -j CNI-FORWARD
///     -A CNI-FORWARD -j CNI-ADMIN                            (operators' own rules)
///     -A CNI-FORWARD -m mark --mark 0x1000/0x1000 -j ACCEPT
///
/// and packets are marked in our table while they are in the forward hook. All three are rules that
/// iptables can list, save and restore. Legacy iptables, which is not nf_tables, cannot be reached.
namespace culvert::hostfw {

/// Makes what is missing of it, in the tables that have a chain FORWARD.
Result<void> ensureGate(nft::Connection& nft, const std::string& adminChain);

/// Whether nothing is missing.
Result<bool> hasGate(nft::Connection& nft, const std::string& adminChain);

/// Removes it, unless `adminChain`s have rules: then an operator relies on being asked.
Result<void> removeGate(nft::Connection& nft);

}  // namespace culvert::hostfw
