#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "hostfw/owner.h"
#include "netlink/nft.h"

/// Masquerading of containers: what a container sends from its own address to anything outside
/// its own subnet, multicast excepted, leaves the host with the host's address. Both families.
///
/// All of it is the table `inet culvert_cni` (hostfw/README.md): a frame of chains and rules that
/// does not grow with containers, and a few set elements for each of their addresses, whose
/// comments name the owner. Packets cost two hash lookups at most, ADD and DEL a constant number
/// of messages, whatever the number of containers. Elements we do not know are left alone.
///
/// All functions are idempotent and atomic: a process killed at any point leaves either all of
/// the step or none of it. `nft` is a connection to the host's namespace. Errors: kTryAgain when
/// others changed nf_tables faster than we could read it, many times over; kIo with the kernel's
/// words for everything else.
namespace culvert::hostfw {

/// Masquerades exactly `addresses` (each with its subnet's prefix length, as in the CNI result)
/// for `owner`. Addresses it had before and that are not listed any more are dropped. An address
/// held by another owner, who must be gone if IPAM gave it to us, is taken over.
Result<void> ensureMasquerade(nft::Connection& nft, const Owner& owner,
                              const std::vector<IpPrefix>& addresses);

/// Forgets all addresses of `owner`, but none that another owner has taken over; and the table
/// with the last element in it. No table, no element: success. On DEL, call it before the link is
/// deleted: the kernel destroys in the background what was removed, and ending the process sooner
/// than that waits for it (milliseconds).
Result<void> removeMasquerade(nft::Connection& nft, const Owner& owner);

/// The addresses masqueraded for `owner`, sorted; none if there is no table. For CHECK.
Result<std::vector<IpPrefix>> findMasquerade(nft::Connection& nft, const Owner& owner);

/// Removes what attachments of `network` that are not in `valid` own, and the table with the last
/// element. Returns the number of addresses removed.
Result<std::size_t> collectMasquerade(nft::Connection& nft, const std::string& network,
                                      const std::set<Attachment>& valid);

}  // namespace culvert::hostfw
