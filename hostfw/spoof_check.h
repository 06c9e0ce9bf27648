#pragma once

#include <cstddef>
#include <set>
#include <string>

#include "base/mac.h"
#include "base/result.h"
#include "hostfw/owner.h"
#include "netlink/nft.h"

/// Source MAC filtering (bridge's `macspoofchk`): a frame that enters by a guarded host veth with
/// another source address than the one allowed there is dropped, before the bridge sees it.
///
/// The table `bridge culvert_cni`: one rule, whatever the number of containers, and set elements
/// whose comments name the owner. Contract and errors are those of hostfw/masquerade.h.
namespace culvert::hostfw {

/// Allows only `mac` as source on `hostIfName`, for `owner`; replaces what was there for that
/// interface. `hostIfName` has 1 to 15 bytes (else kInvalidConfig) and need not exist
/// yet.
Result<void> ensureSpoofCheck(nft::Connection& nft, const Owner& owner,
                              const std::string& hostIfName, const MacAddress& mac);

/// Lifts the guard from `hostIfName` (usually hostVethName(owner)) unless another owner has it;
/// and removes the table with the last element in it. Nothing there: success.
Result<void> removeSpoofCheck(nft::Connection& nft, const Owner& owner,
                              const std::string& hostIfName);

/// Whether exactly `mac` is allowed on `hostIfName`, for `owner`. For CHECK.
Result<bool> hasSpoofCheck(nft::Connection& nft, const Owner& owner, const std::string& hostIfName,
                           const MacAddress& mac);

/// Lifts the guards of attachments of `network` that are not in `valid`. Returns their number.
Result<std::size_t> collectSpoofCheck(nft::Connection& nft, const std::string& network,
                                      const std::set<Attachment>& valid);

}  // namespace culvert::hostfw
