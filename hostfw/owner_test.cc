#include "hostfw/owner.h"

#include <gtest/gtest.h>

#include "base/digest.h"

namespace culvert::hostfw {
namespace {

const Owner kOwner{"net1", "c0ffee", "eth0"};

TEST(OwnerTest, TagStartsWithTheHashesAndSpellsOutTheRest) {
  EXPECT_EQ(ownerTag(kOwner), sha512Hex("net1", 16) + "-" + sha512Hex("c0ffee:eth0", 16) +
                                  ", net: net1, id: c0ffee, if: eth0");
}

TEST(OwnerTest, LongTagIsCutBehindWholeHashes) {
  const Owner owner{std::string(200, 'n'), std::string(64, 'c'), "eth0"};
  const std::string tag = ownerTag(owner);
  EXPECT_EQ(tag.size(), kTagBytesMax);
  EXPECT_EQ(parseOwnerTag(tag), ownerHash(owner));
}

TEST(OwnerTest, TagHasNothingThatNftCannotQuote) {
  const std::string tag = ownerTag({"a\"b", "c\nd\\", "e\xc3\xa9"});
  EXPECT_EQ(tag.substr(33), ", net: a?b, id: c?d?, if: e??");
}

TEST(OwnerTest, HashesAreReadBack) {
  EXPECT_EQ(parseOwnerTag(ownerTag(kOwner)), ownerHash(kOwner));
  EXPECT_EQ(parseLinkAlias(linkAlias(kOwner)), ownerHash(kOwner));
}

TEST(OwnerTest, ForeignTextIsNotATag) {
  for (const char* text :
       {"", "hello", "0123456789abcdef", "0123456789abcdef-0123456789abcde",
        "0123456789ABCDEF-0123456789abcdef, net: x", "0123456789abcdef_0123456789abcdef",
        "0123456789abcdef-0123456789abcdef0"}) {
    EXPECT_EQ(parseOwnerTag(text), std::nullopt) << text;
  }
  EXPECT_EQ(parseLinkAlias("0123456789abcdef-0123456789abcdef"), std::nullopt);
  EXPECT_EQ(parseLinkAlias("culvert "), std::nullopt);
}

TEST(OwnerTest, EachPartOfTheOwnerChangesTheNameOfTheVeth) {
  const std::string name = hostVethName(kOwner);
  EXPECT_EQ(name.size(), 15U);
  EXPECT_EQ(name, hostVethName(kOwner));
  EXPECT_NE(name, hostVethName({"net2", "c0ffee", "eth0"}));
  EXPECT_NE(name, hostVethName({"net1", "c0ffe", "eeth0"}));
  EXPECT_NE(name, hostVethName({"net1", "c0ffee", "eth1"}));
}

TEST(OwnerTest, LinkAliasFitsTheKernelsLimit) {
  EXPECT_LT(linkAlias({std::string(500, 'n'), std::string(500, 'c'), "eth0"}).size(), 256U);
}

}  // namespace
}  // namespace culvert::hostfw
