#include "hostfw/spoof_check.h"

#include <gmock/gmock.h>

#include "hostfw/spoof_check_table.h"
#include "netlink/test_net.h"

namespace culvert::hostfw {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testnet::addr;
using testnet::mac;
using testnet::newNamespace;
using testnet::path;
using testnet::runCommand;
using testnet::runIn;
using testnet::Udp;

const Owner kA{"net1", "a", "eth0"};
const Owner kB{"net1", "b", "eth0"};
const Owner kOther{"net2", "a", "eth0"};
const MacAddress kMac = mac("02:00:00:00:00:0a");
const MacAddress kOtherMac = mac("02:00:00:00:00:0b");

class SpoofCheckTest : public testing::Test {
 protected:
  SpoofCheckTest() : host_(newNamespace()), nft_(nft::Connection::open().value()) {}

  void ensure(const Owner& owner, const std::string& ifName, const MacAddress& address) {
    const auto done = ensureSpoofCheck(nft_, owner, ifName, address);
    ASSERT_TRUE(done) << done.error().message;
  }
  void remove(const Owner& owner, const std::string& ifName) {
    const auto done = removeSpoofCheck(nft_, owner, ifName);
    ASSERT_TRUE(done) << done.error().message;
  }
  bool has(const Owner& owner, const std::string& ifName, const MacAddress& address) {
    return hasSpoofCheck(nft_, owner, ifName, address).value();
  }
  std::vector<nft::Table> tables() { return nft_.listTables().value(); }
  std::size_t elementCount() {
    std::size_t count = 0;
    const auto sets = nft_.listSets(spoof_check::table()).value();
    for (const nft::Set& set : sets)
      count += nft_.listElements(set).value().size();
    return count;
  }

  NetNs host_;
  nft::Connection nft_;
};

TEST_F(SpoofCheckTest, AGuardComesAndGoesAndSoDoesTheTable) {
  EXPECT_FALSE(has(kA, "veth-a", kMac));
  ensure(kA, "veth-a", kMac);
  EXPECT_TRUE(has(kA, "veth-a", kMac));
  EXPECT_FALSE(has(kA, "veth-a", kOtherMac));
  EXPECT_FALSE(has(kB, "veth-a", kMac));
  remove(kA, "veth-a");
  EXPECT_FALSE(has(kA, "veth-a", kMac));
  EXPECT_THAT(tables(), IsEmpty());
  remove(kA, "veth-a");
}

TEST_F(SpoofCheckTest, NamesThatNoInterfaceCanHaveAreRefused) {
  for (const char* name : {"", "veth0123456789ab"})
    EXPECT_EQ(ensureSpoofCheck(nft_, kA, name, kMac).error().code, Errc::kInvalidConfig);
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(SpoofCheckTest, NftPrintsTheTableAsWeDrawIt) {
  ensure(kA, "veth-a", kMac);
  const std::string text = runCommand("nft list table bridge culvert_cni");
  for (const char* line : {"iifname @guarded iifname . ether saddr != @allowed drop",
                           "\"veth-a\" . 02:00:00:00:00:0a comment", "net: net1, id: a, if: eth0",
                           ": 02:00:00:00:00:0a"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST_F(SpoofCheckTest, EnsuringAgainReplacesAddressAndOwner) {
  ensure(kA, "veth-a", kMac);
  ensure(kA, "veth-a", kMac);
  EXPECT_EQ(elementCount(), 3U);
  ensure(kA, "veth-a", kOtherMac);
  EXPECT_TRUE(has(kA, "veth-a", kOtherMac));
  EXPECT_FALSE(has(kA, "veth-a", kMac));
  ensure(kB, "veth-a", kOtherMac);
  EXPECT_EQ(elementCount(), 3U);
  remove(kA, "veth-a");
  EXPECT_TRUE(has(kB, "veth-a", kOtherMac));
}

TEST_F(SpoofCheckTest, TheTableStaysWhileAnybodyIsInIt) {
  ensure(kA, "veth-a", kMac);
  ensure(kB, "veth-b", kMac);
  remove(kA, "veth-a");
  EXPECT_TRUE(has(kB, "veth-b", kMac));
  remove(kB, "veth-b");
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(SpoofCheckTest, CollectingKeepsTheValidAndOtherNetworks) {
  ensure(kA, "veth-a", kMac);
  ensure(kB, "veth-b", kMac);
  ensure(kOther, "veth-c", kMac);
  EXPECT_EQ(collectSpoofCheck(nft_, "net1", {{"b", "eth0"}}).value(), 1U);
  EXPECT_FALSE(has(kA, "veth-a", kMac));
  EXPECT_TRUE(has(kB, "veth-b", kMac));
  EXPECT_TRUE(has(kOther, "veth-c", kMac));
  EXPECT_EQ(collectSpoofCheck(nft_, "net1", {}).value(), 1U);
  EXPECT_EQ(collectSpoofCheck(nft_, "net2", {}).value(), 1U);
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(SpoofCheckTest, MasqueradingsTableIsAnotherOne) {
  runCommand("nft add table inet culvert_cni");
  ensure(kA, "veth-a", kMac);
  remove(kA, "veth-a");
  EXPECT_THAT(tables(), SizeIs(1));
}

/// Two pods on a bridge that know each other's addresses without asking.
class SpoofCheckPacketTest : public SpoofCheckTest {
 protected:
  SpoofCheckPacketTest() : podA_(newNamespace()), podB_(newNamespace()) {
    EXPECT_EQ(::setns(host_.fd(), CLONE_NEWNET), 0);
    runCommand("ip link add br0 type bridge; ip link set br0 up");
    addPod(podA_, "veth-a", kMac, "10.1.0.2");
    addPod(podB_, "veth-b", kOtherMac, "10.1.0.3");
    runIn(podA_, "ip neigh add 10.1.0.3 lladdr " + kOtherMac.text() + " dev eth0");
    runIn(podB_, "ip neigh add 10.1.0.2 lladdr " + kMac.text() + " dev eth0");
  }

  void addPod(const NetNs& pod, const std::string& link, const MacAddress& address,
              const std::string& ip) {
    runCommand("ip link add " + link + " type veth peer name eth0 address " + address.text() +
               " netns " + path(pod));
    runCommand("ip link set " + link + " master br0 up");
    runIn(pod, "ip link set eth0 up; ip addr add " + ip + "/24 dev eth0");
  }

  bool arrives(int timeoutMs) {
    const Udp receiver(podB_, addr("10.1.0.3"), 5000);
    Udp(podA_, addr("10.1.0.2"), 5000).send(addr("10.1.0.3"), 5000);
    return receiver.receive(timeoutMs).has_value();
  }
  void setMac(const MacAddress& address) {
    runIn(podA_, "ip link set eth0 address " + address.text());
    runIn(podA_, "ip neigh replace 10.1.0.3 lladdr " + kOtherMac.text() + " dev eth0");
  }

  NetNs podA_;
  NetNs podB_;
};

TEST_F(SpoofCheckPacketTest, OnlyTheAllowedSourceAddressPasses) {
  const MacAddress spoofed = mac("02:00:00:00:00:ff");
  setMac(spoofed);
  EXPECT_TRUE(arrives(2000));
  ensure(kA, "veth-a", kMac);
  EXPECT_FALSE(arrives(200));
  setMac(kMac);
  EXPECT_TRUE(arrives(2000));
  setMac(spoofed);
  EXPECT_FALSE(arrives(200));
  remove(kA, "veth-a");
  EXPECT_TRUE(arrives(2000));
}

TEST_F(SpoofCheckPacketTest, OtherInterfacesAreNotGuarded) {
  ensure(kB, "veth-b", kOtherMac);
  setMac(mac("02:00:00:00:00:ff"));
  EXPECT_TRUE(arrives(2000));
}

TEST_F(SpoofCheckPacketTest, AnAddressAllowedElsewhereIsNotAllowedHere) {
  ensure(kA, "veth-a", kMac);
  ensure(kB, "veth-b", mac("02:00:00:00:00:ff"));
  setMac(mac("02:00:00:00:00:ff"));
  EXPECT_FALSE(arrives(200));
}

}  // namespace
}  // namespace culvert::hostfw
