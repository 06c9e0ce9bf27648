#include "hostfw/masquerade.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <thread>

#include "hostfw/masquerade_table.h"
#include "netlink/test_net.h"

namespace culvert::hostfw {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testnet::addr;
using testnet::newNamespace;
using testnet::path;
using testnet::prefix;
using testnet::runCommand;
using testnet::runIn;
using testnet::Udp;

const Owner kA{"net1", "a", "eth0"};
const Owner kB{"net1", "b", "eth0"};
const Owner kOther{"net2", "a", "eth0"};

class MasqueradeTest : public testing::Test {
 protected:
  MasqueradeTest() : host_(newNamespace()), nft_(nft::Connection::open().value()) {}

  void ensure(const Owner& owner, const std::vector<IpPrefix>& addresses) {
    const auto done = ensureMasquerade(nft_, owner, addresses);
    ASSERT_TRUE(done) << done.error().message;
  }
  void remove(const Owner& owner) {
    const auto done = removeMasquerade(nft_, owner);
    ASSERT_TRUE(done) << done.error().message;
  }
  std::vector<IpPrefix> find(const Owner& owner) { return findMasquerade(nft_, owner).value(); }
  std::vector<nft::Table> tables() { return nft_.listTables().value(); }
  std::size_t elementCount() {
    std::size_t count = 0;
    const auto sets = nft_.listSets(masquerade::table()).value();
    for (const nft::Set& set : sets)
      count += nft_.listElements(set).value().size();
    return count;
  }

  NetNs host_;
  nft::Connection nft_;
};

TEST_F(MasqueradeTest, AnAddressComesAndGoesAndSoDoesTheTable) {
  ensure(kA, {prefix("10.1.0.2/24"), prefix("fd00:1::2/64")});
  EXPECT_THAT(find(kA), ElementsAre(prefix("10.1.0.2/24"), prefix("fd00:1::2/64")));
  remove(kA);
  EXPECT_THAT(find(kA), IsEmpty());
  EXPECT_THAT(tables(), IsEmpty());
  remove(kA);
}

TEST_F(MasqueradeTest, NftPrintsTheTableAsWeDrawIt) {
  ensure(kA, {prefix("10.1.0.2/24"), prefix("10.1.0.3/32"), prefix("fd00:1::2/64")});
  const std::string text = runCommand("nft list table inet culvert_cni");
  for (const char* line : {"ip saddr . ip daddr & 255.255.255.0 @own_ipv4_24 return",
                           "ip saddr . ip daddr @own_ipv4_32 return", "ip daddr 224.0.0.0/4 return",
                           "ip6 saddr . ip6 daddr & ffff:ffff:ffff:ffff:: @own_ipv6_64 return",
                           "ip saddr @masq_ipv4 goto masquerade_ipv4", ": 10.1.0.2 . 24",
                           "net: net1, id: a, if: eth0"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST_F(MasqueradeTest, TheTableStaysWhileAnybodyIsInIt) {
  ensure(kA, {prefix("10.1.0.2/24")});
  ensure(kB, {prefix("fd00:1::3/64")});
  ensure(kOther, {prefix("10.2.0.2/16")});
  remove(kA);
  EXPECT_THAT(find(kB), SizeIs(1));
  remove(kOther);
  EXPECT_THAT(find(kB), SizeIs(1));
  remove(kB);
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(MasqueradeTest, AnyPrefixLengthIsAPrefixLength) {
  for (const char* text : {"10.1.0.2/0", "10.1.0.2/1", "10.1.0.2/32", "fd00::1/0", "fd00::1/127"}) {
    ensure(kA, {prefix(text)});
    EXPECT_THAT(find(kA), ElementsAre(prefix(text)));
    runCommand("nft list ruleset");
  }
  remove(kA);
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(MasqueradeTest, EnsuringTwiceChangesNothing) {
  ensure(kA, {prefix("10.1.0.2/24")});
  const std::string before = runCommand("nft list ruleset");
  ensure(kA, {prefix("10.1.0.2/24")});
  EXPECT_EQ(runCommand("nft list ruleset"), before);
}

TEST_F(MasqueradeTest, EnsuringOtherAddressesDropsTheFormerOnes) {
  ensure(kA, {prefix("10.1.0.2/24"), prefix("10.1.0.3/24"), prefix("fd00:1::2/64")});
  ensure(kA, {prefix("10.1.0.3/20")});
  EXPECT_THAT(find(kA), ElementsAre(prefix("10.1.0.3/20")));
  EXPECT_EQ(elementCount(), 3U);
  ensure(kA, {});
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(MasqueradeTest, ManyAddressesOfOneOwnerAreAllFound) {
  std::vector<IpPrefix> addresses;
  for (int i = 2; i < 15; ++i)
    addresses.push_back(prefix("10.1.0." + std::to_string(i) + "/24"));
  ensure(kA, addresses);
  EXPECT_THAT(find(kA), SizeIs(13));
  remove(kA);
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(MasqueradeTest, AnAddressTakenOverIsNotTheFormerOwnersToRemove) {
  ensure(kA, {prefix("10.1.0.2/24"), prefix("10.1.0.3/24"), prefix("10.1.0.4/24")});
  ensure(kB, {prefix("10.1.0.2/16"), prefix("10.1.0.4/24")});
  EXPECT_THAT(find(kA), ElementsAre(prefix("10.1.0.3/24")));
  EXPECT_THAT(find(kB), ElementsAre(prefix("10.1.0.2/16"), prefix("10.1.0.4/24")));
  EXPECT_EQ(elementCount(), 9U);
  remove(kA);
  EXPECT_THAT(find(kB), SizeIs(2));
  EXPECT_EQ(elementCount(), 6U);
  remove(kB);
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(MasqueradeTest, AnOwnerWhoLostAllAddressesLeavesNothing) {
  ensure(kA, {prefix("10.1.0.2/24")});
  ensure(kB, {prefix("10.1.0.2/24")});
  EXPECT_EQ(elementCount(), 3U);
  remove(kB);
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(MasqueradeTest, CollectingKeepsTheValidAndOtherNetworks) {
  const Owner second{"net1", "a", "eth1"};
  ensure(kA, {prefix("10.1.0.2/24"), prefix("fd00:1::2/64")});
  ensure(second, {prefix("10.1.0.9/24")});
  ensure(kB, {prefix("10.1.0.3/24")});
  ensure(kOther, {prefix("10.2.0.2/24")});
  EXPECT_EQ(collectMasquerade(nft_, "net1", {{"b", "eth0"}, {"a", "eth1"}}).value(), 2U);
  EXPECT_THAT(find(kA), IsEmpty());
  EXPECT_THAT(find(second), SizeIs(1));
  EXPECT_THAT(find(kB), SizeIs(1));
  EXPECT_THAT(find(kOther), SizeIs(1));
  EXPECT_EQ(collectMasquerade(nft_, "net1", {}).value(), 2U);
  EXPECT_EQ(collectMasquerade(nft_, "net1", {}).value(), 0U);
  EXPECT_EQ(collectMasquerade(nft_, "net2", {}).value(), 1U);
  EXPECT_THAT(tables(), IsEmpty());
  EXPECT_EQ(collectMasquerade(nft_, "net2", {}).value(), 0U);
}

TEST_F(MasqueradeTest, ForeignElementsStayAndKeepTheTable) {
  ensure(kA, {prefix("10.1.0.2/24")});
  runCommand("nft add element inet culvert_cni masq_ipv4 '{ 10.9.9.9 comment \"by hand\" }'");
  EXPECT_EQ(collectMasquerade(nft_, "net1", {}).value(), 1U);
  EXPECT_EQ(elementCount(), 1U);
}

TEST_F(MasqueradeTest, ForeignChainsAndSetsKeepTheTable) {
  for (const char* thing :
       {"chain inet culvert_cni mine", "set inet culvert_cni mine { type iface_index; }"}) {
    ensure(kA, {prefix("10.1.0.2/24")});
    runCommand(std::string("nft 'add ") + thing + "'");
    remove(kA);
    EXPECT_THAT(tables(), SizeIs(1)) << thing;
    runCommand("nft delete table inet culvert_cni");
  }
}

TEST_F(MasqueradeTest, ElementsMissingFromThePathAreNoObstacleToRemoval) {
  ensure(kA, {prefix("10.1.0.2/24")});
  ensure(kB, {prefix("10.1.0.3/24")});
  runCommand("nft delete element inet culvert_cni masq_ipv4 '{ 10.1.0.2 }'");
  EXPECT_THAT(find(kA), IsEmpty());
  remove(kA);
  EXPECT_EQ(elementCount(), 3U);
}

TEST_F(MasqueradeTest, AFlushedRulesetIsRebuiltByTheNextOne) {
  ensure(kA, {prefix("10.1.0.2/24")});
  runCommand("nft flush ruleset");
  remove(kA);
  ensure(kB, {prefix("10.1.0.3/24")});
  EXPECT_THAT(find(kB), SizeIs(1));
}

TEST_F(MasqueradeTest, OtherTablesAreNotTouched) {
  runCommand("nft add table inet other");
  ensure(kA, {prefix("10.1.0.2/24")});
  remove(kA);
  EXPECT_THAT(tables(), ElementsAre(nft::Table{nft::TableFamily::kInet, "other"}));
}

TEST_F(MasqueradeTest, ParallelAddsAndRemovalsLeaveNothingAndLoseNothing) {
  constexpr int kThreads = 16;
  constexpr int kEach = 25;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      auto nft = nft::Connection::openIn(host_).value();
      for (int i = 0; i < kEach; ++i) {
        const Owner owner{"net1", std::to_string(t) + "-" + std::to_string(i), "eth0"};
        const auto address = prefix("10." + std::to_string(t) + ".0." + std::to_string(i) + "/" +
                                    std::to_string(16 + i % 8));
        const auto added = ensureMasquerade(nft, owner, {address});
        EXPECT_TRUE(added) << added.error().message;
        EXPECT_THAT(findMasquerade(nft, owner).value(), ElementsAre(address));
        const auto removed = removeMasquerade(nft, owner);
        EXPECT_TRUE(removed) << removed.error().message;
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_THAT(tables(), IsEmpty());
}

TEST_F(MasqueradeTest, AKilledProcessLeavesAllOfAStepOrNothing) {
  ensure(kB, {prefix("10.1.0.3/24")});
  const std::vector<IpPrefix> addresses = {prefix("10.1.0.2/24"), prefix("10.1.0.4/20"),
                                           prefix("fd00:1::2/64")};
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto nft = nft::Connection::open().value();
      for (;;) {
        (void)ensureMasquerade(nft, kA, addresses);
        (void)removeMasquerade(nft, kA);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + round * 137));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const std::size_t found = find(kA).size();
    EXPECT_TRUE(found == 0 || found == addresses.size()) << found;
    EXPECT_EQ(elementCount(), 3 * (found + 1));
    remove(kA);
    EXPECT_EQ(elementCount(), 3U);
  }
}

/// A pod behind a host that routes, and somebody outside who sees where datagrams come from.
class MasqueradePacketTest : public MasqueradeTest {
 protected:
  MasqueradePacketTest()
      : pod_(newNamespace()), neighbour_(newNamespace()), outside_(newNamespace()) {
    enter(host_);
    runCommand("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    runCommand("ip addr add 10.1.0.1/32 dev lo");
    addPod(pod_, "veth-pod", "10.1.0.2", "fd00:1::2");
    addPod(neighbour_, "veth-nbr", "10.1.0.3", "fd00:1::3");
    runCommand("ip link add veth-out type veth peer name eth0 netns " + path(outside_));
    runCommand(
        "ip link set veth-out up && ip addr add 198.18.0.1/24 dev veth-out;"
        "ip addr add fd18::1/64 dev veth-out nodad");
    runIn(outside_,
          "ip link set eth0 up && ip addr add 198.18.0.2/24 dev eth0;"
          "ip addr add fd18::2/64 dev eth0 nodad");
  }

  static void enter(const NetNs& ns) { ASSERT_EQ(::setns(ns.fd(), CLONE_NEWNET), 0); }

  void addPod(const NetNs& pod, const std::string& link, const std::string& v4,
              const std::string& v6) {
    runCommand("ip link add " + link + " type veth peer name eth0 netns " + path(pod));
    runCommand("ip link set " + link + " up && ip addr add fe80::1/64 dev " + link +
               " nodad && ip route add " + v4 + " dev " + link + " && ip route add " + v6 +
               " dev " + link);
    runIn(pod,
          "ip link set eth0 up && ip addr add " + v4 + "/32 dev eth0 && ip addr add " + v6 +
              "/128 dev eth0 nodad && ip route add 10.1.0.1 dev eth0 && "
              "ip route add default via 10.1.0.1 && ip route add default via fe80::1 dev eth0");
  }

  /// The source address with which a datagram from `from` arrives at `to` in `where`.
  static std::string sourceSeen(const NetNs& sender, const char* from, const NetNs& where,
                                const char* to) {
    static std::uint16_t port = 5000;  // a fresh flow each time
    ++port;
    const Udp receiver(where, addr(to), port);
    Udp(sender, addr(from), port).send(addr(to), port);
    const auto source = receiver.receive();
    return source ? source->text() : "nothing";
  }

  NetNs pod_;
  NetNs neighbour_;
  NetNs outside_;
};

TEST_F(MasqueradePacketTest, OutsideSeesTheHostAndTheOwnSubnetSeesThePod) {
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", outside_, "198.18.0.2"), "10.1.0.2");
  ensure(kA, {prefix("10.1.0.2/24"), prefix("fd00:1::2/64")});
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", outside_, "198.18.0.2"), "198.18.0.1");
  EXPECT_EQ(sourceSeen(pod_, "fd00:1::2", outside_, "fd18::2"), "fd18::1");
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", neighbour_, "10.1.0.3"), "10.1.0.2");
  EXPECT_EQ(sourceSeen(pod_, "fd00:1::2", neighbour_, "fd00:1::3"), "fd00:1::2");
  remove(kA);
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", outside_, "198.18.0.2"), "10.1.0.2");
  EXPECT_EQ(sourceSeen(pod_, "fd00:1::2", outside_, "fd18::2"), "fd00:1::2");
}

TEST_F(MasqueradePacketTest, OnlyTheOwnersAddressIsMasqueraded) {
  ensure(kA, {prefix("10.1.0.2/24")});
  EXPECT_EQ(sourceSeen(neighbour_, "10.1.0.3", outside_, "198.18.0.2"), "10.1.0.3");
  EXPECT_EQ(sourceSeen(pod_, "fd00:1::2", outside_, "fd18::2"), "fd00:1::2");
}

TEST_F(MasqueradePacketTest, TheSubnetIsExactlyThatOfThePrefixLength) {
  ensure(kOther, {prefix("10.1.0.3/16")});  // so that there is another length
  ensure(kA, {prefix("10.1.0.2/31")});
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", neighbour_, "10.1.0.3"), "10.1.0.2");
  ensure(kA, {prefix("10.1.0.2/32")});
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", neighbour_, "10.1.0.3"), "10.1.0.1");
}

TEST_F(MasqueradePacketTest, AfterATakeoverTheNewPrefixLengthCounts) {
  ensure(kA, {prefix("10.1.0.2/24")});
  ensure(kB, {prefix("10.1.0.2/32")});
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", neighbour_, "10.1.0.3"), "10.1.0.1");
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", outside_, "198.18.0.2"), "198.18.0.1");
  remove(kA);
  EXPECT_EQ(sourceSeen(pod_, "10.1.0.2", outside_, "198.18.0.2"), "198.18.0.1");
}

TEST_F(MasqueradePacketTest, MulticastKeepsItsSource) {
  // A container that shares the host's namespace, as far as postrouting is concerned.
  runCommand("ip addr add 10.1.0.9/32 dev veth-out");
  ensure(kA, {prefix("10.1.0.9/24")});
  EXPECT_EQ(sourceSeen(host_, "10.1.0.9", outside_, "198.18.0.2"), "198.18.0.1");
  runCommand("ip route add 239.1.1.1 dev veth-out");
  const Udp receiver(outside_, addr("239.1.1.1"), 4999);
  const ip_mreqn group{{inet_addr("239.1.1.1")}, {inet_addr("198.18.0.2")}, 0};
  ASSERT_EQ(::setsockopt(receiver.fd(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group), 0);
  Udp(host_, addr("10.1.0.9"), 4999).send(addr("239.1.1.1"), 4999);
  EXPECT_EQ(receiver.receive(), addr("10.1.0.9"));
}

}  // namespace
}  // namespace culvert::hostfw
