#include "ipam/host_local/garbage.h"

#include <gtest/gtest.h>

namespace culvert::ipam {
namespace {

TEST(GarbageRule, KeepsExactlyTheValidAttachments) {
  const GarbageRule rule({{"c1", "eth0"}, {"c2", "net1"}});
  EXPECT_FALSE(rule.isGarbage(Owner{"c1", "eth0"}));
  EXPECT_FALSE(rule.isGarbage(Owner{"c2", "net1"}));
  EXPECT_TRUE(rule.isGarbage(Owner{"c1", "net1"}));
  EXPECT_TRUE(rule.isGarbage(Owner{"c3", "eth0"}));
}

TEST(GarbageRule, KeepsLegacyReservationsOfContainersThatLive) {
  const GarbageRule rule({cni::Attachment{"c1", "eth0"}});
  EXPECT_FALSE(rule.isGarbage(Owner{"c1", ""}));
  EXPECT_TRUE(rule.isGarbage(Owner{"c2", ""}));
}

TEST(GarbageRule, OfNoAttachmentsKeepsNoOwner) {
  const GarbageRule rule(std::vector<cni::Attachment>{});
  EXPECT_TRUE(rule.isGarbage(Owner{"c1", "eth0"}));
  EXPECT_TRUE(rule.isGarbage(Owner{"c1", ""}));
}

TEST(GarbageRule, CollectsEmptyReservationsAndNeverForeignOnes) {
  const GarbageRule rule(std::vector<cni::Attachment>{});
  EXPECT_TRUE(rule.isGarbage(Unowned{}));
  EXPECT_FALSE(rule.isGarbage(Foreign{}));
}

}  // namespace
}  // namespace culvert::ipam
