#include "daemons/routing/wireguard_peers.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace culvert::routing {
namespace {

using netlink::PublicKey;
using How = netlink::WireguardPeerChange::How;

PublicKey key(std::uint8_t last) {
  PublicKey result;
  result.bytes[31] = last;
  return result;
}

WireguardPeerPlan at(const char* address, const char* network) {
  return {{*IpAddress::parse(address), 51820}, {*IpPrefix::parse(network)}, {}};
}

TEST(WireguardPeers, OnlyWhatDiffersIsSent) {
  const WireguardPeers before = {{key(1), at("198.18.0.1", "10.1.0.0/24")},
                                 {key(2), at("198.18.0.2", "10.2.0.0/24")},
                                 {key(3), at("198.18.0.3", "10.3.0.0/24")}};
  WireguardPeers after = before;
  after.erase(key(1));
  after[key(2)].endpoint.address = *IpAddress::parse("198.18.9.9");
  const auto changes = diff(before, after);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].how, How::kRemove);
  EXPECT_EQ(changes[0].key, key(1));
  EXPECT_EQ(changes[1].how, How::kEnsure);
  EXPECT_EQ(changes[1].endpoint->address.text(), "198.18.9.9");
  EXPECT_FALSE(changes[1].allowedIps || changes[1].keepalive) << "packets would be lost meanwhile";
  EXPECT_TRUE(diff(after, after).empty());
}

class KeyFile : public testing::Test {
 protected:
  ~KeyFile() override { std::filesystem::remove_all(folder_); }
  std::string folder_ = testing::TempDir() + "culvert-key-" + std::to_string(::getpid());
  std::string path_ = folder_ + "/deep/wireguard.key";
};

TEST_F(KeyFile, IsMadeOnceAndPrivate) {
  const auto made = loadOrCreateKey(path_);
  ASSERT_TRUE(made) << made.error().message;
  struct stat file {};
  ASSERT_EQ(::stat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777U, 0600U);
  const auto again = loadOrCreateKey(path_);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->publicKey(), made->publicKey());
}

TEST_F(KeyFile, IsNotReplacedIfItIsSomethingElse) {
  std::filesystem::create_directories(folder_ + "/deep");
  std::ofstream(path_) << "precious";
  EXPECT_EQ(loadOrCreateKey(path_).error().code, Errc::kDecode);
  std::string text;
  std::ifstream(path_) >> text;
  EXPECT_EQ(text, "precious");
}

}  // namespace
}  // namespace culvert::routing
