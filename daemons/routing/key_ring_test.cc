#include "daemons/routing/key_ring.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace culvert::routing {
namespace {

class Keys : public testing::Test {
 protected:
  ~Keys() override { std::filesystem::remove_all(folder_); }
  KeyRing open() { return KeyRing::open(folder_ + "/wireguard.key", kKeySlots).value(); }

  std::string folder_ = testing::TempDir() + "culvert-keys-" + std::to_string(::getpid());
};

TEST_F(Keys, AreOfTheirSlotsAndPrivateAndStay) {
  const auto published = open().toPublish();
  ASSERT_EQ(published.size(), 2U);
  EXPECT_NE(published[0], published[1]);
  EXPECT_EQ(open().toPublish(), published);
  for (const char* file : {"/wireguard.key", "/wireguard.key.1"}) {
    struct stat found {};
    ASSERT_EQ(::stat((folder_ + file).c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777U, 0600U);
  }
}

TEST_F(Keys, ANewOneIsUsedOnceItIsPublished) {
  KeyRing keys = open();
  const auto before = keys.toPublish();
  ASSERT_TRUE(keys.propose(1));
  const auto proposed = keys.toPublish();
  EXPECT_EQ(proposed[0], before[0]);
  EXPECT_NE(proposed[1], before[1]);
  EXPECT_EQ(keys.key(1).publicKey().text(), before[1]) << "not yet";
  ASSERT_TRUE(keys.propose(1));
  EXPECT_EQ(keys.toPublish(), proposed) << "the same proposal";
  EXPECT_FALSE(keys.isPublished(before));
  EXPECT_TRUE(keys.isPublished(proposed));
  const auto now = std::chrono::system_clock::now();
  ASSERT_TRUE(keys.adopt(now));
  EXPECT_EQ(keys.key(1).publicKey().text(), proposed[1]);
  EXPECT_EQ(keys.made(1), now);
  EXPECT_FALSE(keys.isPublished(proposed)) << "nothing is proposed any more";
  EXPECT_EQ(open().toPublish(), proposed) << "it is on disk";
}

TEST_F(Keys, AWithdrawnOneIsForgotten) {
  KeyRing keys = open();
  const auto before = keys.toPublish();
  ASSERT_TRUE(keys.propose(0));
  keys.withdraw();
  EXPECT_EQ(keys.toPublish(), before);
}

}  // namespace
}  // namespace culvert::routing
