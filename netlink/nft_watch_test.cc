#include "netlink/nft_watch.h"

#include <gtest/gtest.h>

#include <optional>

#include "netlink/test_net.h"

namespace culvert::nft {
namespace {

using testnet::newNamespace;
using testnet::runCommand;

const Table kOurs{TableFamily::kInet, "ours"};

class NftWatchTest : public testing::Test {
 protected:
  NftWatchTest() {
    newNamespace();
    nft_.emplace(Connection::open().value());
    watch_.emplace(Watch::open().value());
  }
  Result<void> commit(void (Transaction::*what)(Table)) {
    Transaction tx;
    (tx.*what)(kOurs);
    return nft_->commit(tx);
  }
  bool drain() { return watch_->drain(kOurs, nft_->port()).value(); }

  std::optional<Connection> nft_;
  std::optional<Watch> watch_;
};

TEST_F(NftWatchTest, WhatOthersDoToOurTableIsHeardAndNothingElse) {
  ASSERT_TRUE(commit(&Transaction::add));
  EXPECT_FALSE(drain()) << "our own change";
  runCommand("nft add table inet theirs");
  runCommand("nft add chain inet theirs ours");
  EXPECT_FALSE(drain()) << "another table";
  for (const char* command :
       {"nft add chain inet ours c", "nft add rule inet ours c accept",
        "nft flush chain inet ours c", "nft add set inet ours s '{ type mark; }'",
        "nft add element inet ours s '{ 1 }'", "nft delete table inet ours"}) {
    runCommand(command);
    EXPECT_TRUE(drain()) << command;
    EXPECT_FALSE(drain());
  }
}

TEST_F(NftWatchTest, AnOwnedTableIsSafeFromOthersWhileItsConnectionIsOpenAndThereAfterwards) {
  const auto owned = commit(&Transaction::own);
  if (!owned && owned.error().sysErrno == EOPNOTSUPP)
    GTEST_SKIP() << "this kernel has no NFT_TABLE_F_PERSIST (Linux 6.9)";
  ASSERT_TRUE(owned) << owned.error().message;
  runCommand("nft flush ruleset");
  runCommand("! nft delete table inet ours 2>/dev/null");
  EXPECT_EQ(nft_->listTables().value(), std::vector{kOurs});
  EXPECT_TRUE(commit(&Transaction::own)) << "once more by the same";
  nft_.emplace(Connection::open().value());
  EXPECT_EQ(nft_->listTables().value(), std::vector{kOurs});
  EXPECT_TRUE(commit(&Transaction::own)) << "the next adopts it";
  runCommand("nft flush ruleset");
  EXPECT_EQ(nft_->listTables().value(), std::vector{kOurs});
  EXPECT_TRUE(commit(&Transaction::remove));
  EXPECT_TRUE(nft_->listTables().value().empty());
}

TEST_F(NftWatchTest, ATableThatWasMadeWithoutOwnerStaysSo) {
  ASSERT_TRUE(commit(&Transaction::add));
  const auto refused = commit(&Transaction::own);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sysErrno, EOPNOTSUPP);
}

}  // namespace
}  // namespace culvert::nft
