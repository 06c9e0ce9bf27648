#include "daemons/routing/blocks.h"

#include <gtest/gtest.h>

namespace culvert::routing {
namespace {

using objects::IpPool;

IpPrefix net(const char* text) {
  return *IpPrefix::parse(text);
}

IpPool pool(const char* cidr, std::uint8_t length, const char* name = "p") {
  IpPool result;
  result.meta.name = name;
  result.cidr = net(cidr);
  result.blockLength = length;
  return result;
}

TEST(Blocks, EveryBlockOfAPoolIsFoundOnce) {
  for (const IpPool& one : {pool("10.0.4.0/22", 26), pool("fd00:1::/118", 122)}) {
    std::set<IpPrefix> taken;
    for (std::uint64_t i = 0; i < blockCount(one); ++i) {
      const auto block = chooseBlock(one, "n", taken);
      ASSERT_TRUE(block);
      EXPECT_TRUE(one.cidr.contains(block->address())) << block->text();
      EXPECT_EQ(block->network(), *block);
      EXPECT_TRUE(taken.insert(*block).second) << block->text();
    }
    EXPECT_EQ(taken.size(), 16u);
    EXPECT_FALSE(chooseBlock(one, "n", taken)) << "the pool is full";
  }
}

TEST(Blocks, NodesThatStartTogetherRarelyWantTheSame) {
  const IpPool one = pool("10.0.0.0/14", 26);
  std::set<IpPrefix> wanted;
  for (int i = 0; i < 100; ++i)
    wanted.insert(*chooseBlock(one, "node-" + std::to_string(i), {}));
  EXPECT_GT(wanted.size(), 90u);
}

TEST(Blocks, WhatOverlapsANetworkInUseIsNotTaken) {
  const auto block = chooseBlock(pool("10.0.0.0/24", 25), "n", {net("10.0.0.192/26")});
  ASSERT_TRUE(block);
  EXPECT_EQ(block->text(), "10.0.0.0/25");
  EXPECT_FALSE(chooseBlock(pool("10.0.0.0/24", 25), "n", {net("10.0.0.0/8")}));
}

TEST(Blocks, EligiblePoolsAreThoseThatAreMeantForTheNode) {
  IpPool disabled = pool("10.1.0.0/16", 26, "disabled"), manual = pool("10.2.0.0/16", 26, "manual"),
         zone = pool("10.3.0.0/16", 26, "zone"), all = pool("10.4.0.0/16", 26, "all"),
         twin = pool("10.5.0.0/16", 26, "twin"), twin2 = pool("10.5.0.0/17", 26, "twin2");
  disabled.disabled = true;
  manual.automatic = false;
  zone.nodeSelector = "zone == 'a'";
  const auto names = [&](const objects::Labels& labels) {
    std::string text;
    for (const IpPool& one : eligiblePools({disabled, manual, zone, all, twin, twin2}, labels))
      text += one.meta.name + " ";
    return text;
  };
  EXPECT_EQ(names({{"zone", "a"}}), "zone all ");
  EXPECT_EQ(names({{"zone", "b"}}), "all ");
}

TEST(Blocks, CapacityIsWhatHostLocalGivesAway) {
  EXPECT_EQ(capacityOf(net("10.0.0.0/28")), 13u);
  EXPECT_EQ(capacityOf(net("fd00::/124")), 14u);
  EXPECT_EQ(capacityOf(net("10.0.0.0/31")), 0u);
  EXPECT_EQ(capacityOf(net("fd00::/64")), (std::uint64_t{1} << 62) - 2);
}

TEST(Blocks, AnotherOneIsTakenBeforeTheLastRunsFull) {
  const IpPrefix small = net("10.0.0.0/28"), large = net("10.1.0.0/24");
  EXPECT_FALSE(runsShort({{small, 9}}));
  EXPECT_TRUE(runsShort({{small, 10}}));
  EXPECT_TRUE(runsShort({{small, 14}})) << "addresses of other ranges may stand there, too";
  EXPECT_FALSE(runsShort({{small, 13}, {net("10.0.0.16/28"), 5}}));
  EXPECT_FALSE(runsShort({{large, 237}}));
  EXPECT_TRUE(runsShort({{large, 238}})) << "sixteen are enough of a reserve";
  EXPECT_FALSE(runsShort({{net("10.0.0.0/32"), 0}})) << "more of these would not help";
}

TEST(Blocks, AnEmptyOneIsSpareIfTheOthersHavePlenty) {
  const IpPrefix a = net("10.0.0.0/28"), b = net("10.0.0.16/28"), c = net("10.0.0.32/28");
  EXPECT_EQ(findSpare({{a, 0}}), std::nullopt) << "the only one";
  EXPECT_EQ(findSpare({{a, 5}, {b, 0}}), b);
  EXPECT_EQ(findSpare({{a, 6}, {b, 0}}), std::nullopt) << "it would soon be taken again";
  EXPECT_EQ(findSpare({{a, 0}, {b, 1}}), a);
  EXPECT_EQ(findSpare({{a, 1}, {b, 1}, {c, 1}}), std::nullopt) << "pods have addresses there";
  EXPECT_EQ(findSpare({{a, 0}, {b, 0}}), b);
}

}  // namespace
}  // namespace culvert::routing
