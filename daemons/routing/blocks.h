#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemons/objects/ip_pool.h"
#include "daemons/objects/node.h"

namespace culvert::routing {

/// Which block of the pool a node tries to take: its first choice follows from its name, so that
/// nodes that start together rarely want the same one, and then the next free one, round about.
/// Nothing if all are taken. `taken`: the blocks and networks in use, by anybody.
std::optional<IpPrefix> chooseBlock(const objects::IpPool& pool, const std::string& node,
                                    const std::set<IpPrefix>& taken);

/// Whether the block overlaps none of those.
bool isFree(const IpPrefix& block, const std::set<IpPrefix>& taken);

/// How many blocks of the pool there are; at most 2^32.
std::uint64_t blockCount(const objects::IpPool& pool);

/// Pools that a node may take blocks of now: not disabled, automatic, not overlapping another one,
/// with a nodeSelector that the node's labels satisfy; in order of their names.
std::vector<objects::IpPool> eligiblePools(const std::vector<objects::IpPool>& pools,
                                           const objects::Labels& node);

/// How many addresses of a block host-local gives to pods: all but the network's own, the gateway's
/// and IPv4's broadcast address. At most 2^62.
std::uint64_t capacityOf(const IpPrefix& network);

/// The pool that the address is in.
std::optional<objects::IpPool> poolOf(const std::vector<objects::IpPool>& pools,
                                      const IpAddress& address);

struct BlockUse {
  IpPrefix network;
  std::uint64_t used = 0;  // addresses that pods have
};

/// Whether so few addresses are left in all of a node's blocks of one family that it needs another
/// block: less than a quarter of a block, and than 16.
bool runsShort(const std::vector<BlockUse>& blocks);
/// The last empty block that the others do without, with twice the addresses free that would make
/// the node take it again.
std::optional<IpPrefix> findSpare(const std::vector<BlockUse>& blocks);

}  // namespace culvert::routing
