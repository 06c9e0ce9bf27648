#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "hostfw/owner.h"
#include "netlink/nft.h"

/// What the reference plugins keep in the host's firewall for containers that were added before the
/// plugins were swapped: our DEL and GC remove it. Chains and rules of iptables (over nf_tables)
/// and nft are found by the names and comments the reference gives them; nothing else of these
/// tables is read, and where nothing is there it costs one system call. What the reference shares
/// between containers and never removes (CNI-HOSTPORT-*, CNI-FORWARD, CNI-ISOLATION-STAGE-*, base
/// chains and tables) stays. Legacy iptables is another kernel subsystem and not looked at.
///
/// Functions are idempotent, atomic, and leave alone what other attachments have.
namespace culvert::hostfw {

/// Of bridge and ptp: ipMasq (`CNI-<hash>` in `ip nat` and `ip6 nat`, rules in
/// `inet cni_plugins_masquerade`) and macspoofchk (`cni-br-iface-*` in `bridge nat`).
Result<void> removeReferenceInterface(nft::Connection& nft, const Owner& owner);

/// Of portmap: `CNI-DN-<hash>` and `CNI-SN-<hash>` in `ip nat` and `ip6 nat`, rules in
/// `ip cni_hostport` and `ip6 cni_hostport`. The latter know only the container: with `addresses`,
/// those of its other networks stay.
Result<void> removeReferencePortmap(nft::Connection& nft, const Owner& owner,
                                    const std::vector<IpAddress>& addresses);

/// Of firewall: rules of the addresses in CNI-FORWARD of `ip filter` and `ip6 filter`.
Result<void> removeReferenceForward(nft::Connection& nft, const std::vector<IpAddress>& addresses);

/// GC: what says in its comment that it is of `network` and of none of `valid`; and macspoofchk of
/// interfaces that are gone. (Rules of firewall and of `cni_hostport` do not tell their network.)
Result<void> collectReferenceInterface(nft::Connection& nft, const std::string& network,
                                       const std::set<Attachment>& valid);
Result<void> collectReferencePortmap(nft::Connection& nft, const std::string& network,
                                     const std::set<Attachment>& valid);

}  // namespace culvert::hostfw
