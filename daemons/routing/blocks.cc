#include "daemons/routing/blocks.h"

#include <algorithm>

#include "base/digest.h"
#include "daemons/objects/selector.h"

namespace culvert::routing {
namespace {

using objects::IpPool;

/// As many free addresses as pods may come in while another block is taken: a quarter of a block.
constexpr std::uint64_t kReserveMax = 16;

/// The network of `length` bits that begins `index` such networks behind the pool's begin.
IpPrefix blockAt(const IpPool& pool, std::uint64_t index) {
  std::uint8_t bytes[16] = {};
  const std::size_t size = pool.cidr.address().size();
  std::copy_n(pool.cidr.address().bytes(), size, bytes);
  // Add index << (bits - length), from the lowest byte that is touched.
  const unsigned shift = addressBits(pool.cidr.family()) - pool.blockLength;
  std::size_t at = size - 1 - shift / 8;
  unsigned __int128 carry = static_cast<unsigned __int128>(index) << (shift % 8);
  for (;; --at) {
    carry += bytes[at];
    bytes[at] = static_cast<std::uint8_t>(carry);
    carry >>= 8;
    if (carry == 0 || at == 0) break;
  }
  return {IpAddress::fromBytes(pool.cidr.family(), bytes), pool.blockLength};
}

bool overlapsAnother(const IpPool& pool, const std::vector<IpPool>& pools) {
  return std::any_of(pools.begin(), pools.end(), [&](const IpPool& other) {
    return other.meta.name != pool.meta.name && other.cidr.overlaps(pool.cidr);
  });
}

}  // namespace

bool isFree(const IpPrefix& block, const std::set<IpPrefix>& taken) {
  return std::none_of(taken.begin(), taken.end(),
                      [&](const IpPrefix& other) { return other.overlaps(block); });
}

std::uint64_t blockCount(const IpPool& pool) {
  const unsigned bits = pool.blockLength - pool.cidr.length();
  return std::uint64_t{1} << std::min(bits, 32U);
}

std::optional<IpPrefix> chooseBlock(const IpPool& pool, const std::string& node,
                                    const std::set<IpPrefix>& taken) {
  // Only what lies in the pool can be in the way: a look at each block of a full pool then costs
  // no more than the pool has.
  std::set<IpPrefix> inside;
  for (const IpPrefix& network : taken) {
    if (network.overlaps(pool.cidr)) inside.insert(network);
  }
  const std::uint64_t count = blockCount(pool);
  const std::uint64_t first =
      std::stoull(sha512Hex(pool.meta.name + " " + node, 12), nullptr, 16) % count;
  const std::uint64_t tries = std::min<std::uint64_t>(count, 65536);
  for (std::uint64_t i = 0; i < tries; ++i) {
    const IpPrefix block = blockAt(pool, (first + i) % count);
    if (inside.count(block) == 0 && isFree(block, inside)) return block;
  }
  return std::nullopt;
}

std::vector<IpPool> eligiblePools(const std::vector<IpPool>& pools, const objects::Labels& node) {
  std::vector<IpPool> result;
  for (const IpPool& pool : pools) {
    if (pool.disabled || !pool.automatic || overlapsAnother(pool, pools)) continue;
    const auto selector = objects::Selector::parse(pool.nodeSelector);
    if (selector && selector->matches(node)) result.push_back(pool);
  }
  return result;
}

std::optional<IpPool> poolOf(const std::vector<IpPool>& pools, const IpAddress& address) {
  for (const IpPool& pool : pools) {
    if (pool.cidr.contains(address)) return pool;
  }
  return std::nullopt;
}

std::uint64_t capacityOf(const IpPrefix& network) {
  const unsigned bits = addressBits(network.family()) - network.length();
  const std::uint64_t addresses = std::uint64_t{1} << std::min(bits, 62U);
  const std::uint64_t kept = network.family() == Family::kV4 ? 3 : 2;
  return addresses > kept ? addresses - kept : 0;
}

namespace {

std::uint64_t freeIn(const std::vector<BlockUse>& blocks) {
  std::uint64_t free = 0;
  for (const BlockUse& block : blocks)
    free += capacityOf(block.network) - std::min(block.used, capacityOf(block.network));
  return free;
}

std::uint64_t reserveFor(const std::vector<BlockUse>& blocks) {
  std::uint64_t largest = 0;
  for (const BlockUse& block : blocks)
    largest = std::max(largest, capacityOf(block.network));
  return std::min((largest + 3) / 4, kReserveMax);
}

}  // namespace

bool runsShort(const std::vector<BlockUse>& blocks) {
  return freeIn(blocks) < reserveFor(blocks);
}

std::optional<IpPrefix> findSpare(const std::vector<BlockUse>& blocks) {
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    if (block->used != 0) continue;
    std::vector<BlockUse> others(blocks);
    std::erase_if(others, [&](const BlockUse& one) { return one.network == block->network; });
    if (others.empty() || freeIn(others) < 2 * reserveFor(blocks)) continue;
    return block->network;
  }
  return std::nullopt;
}

}  // namespace culvert::routing
