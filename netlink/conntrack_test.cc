#include "netlink/conntrack.h"

#include <gmock/gmock.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "netlink/nft.h"
#include "netlink/test_net.h"

namespace culvert::conntrack {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testnet::addr;
using testnet::newNamespace;
using testnet::path;
using testnet::runCommand;
using testnet::runIn;
using testnet::Udp;

constexpr std::uint8_t kUdp = IPPROTO_UDP;

/// A client and two servers around a host, which sends what comes for 198.18.0.1:53 to server A
/// (10.1.0.2:1053), and the same for IPv6.
class ConntrackTest : public testing::Test {
 protected:
  ConntrackTest() : host_(newNamespace()), client_(newNamespace()), server_(newNamespace()) {
    EXPECT_EQ(::setns(host_.fd(), CLONE_NEWNET), 0);
    runCommand("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    connect(client_, "client", "198.18.0", "fd18");
    connect(server_, "server", "10.1.0", "fd01");
    runCommand("nft add table inet t");
    runCommand("nft 'add chain inet t pre { type nat hook prerouting priority -100; }'");
    runCommand("nft add rule inet t pre ip daddr 198.18.0.1 udp dport 53 dnat ip to 10.1.0.2:1053");
    runCommand("nft add rule inet t pre ip6 daddr fd18::1 udp dport 53 dnat ip6 to [fd01::2]:1053");
    conntrack_.emplace(Connection::open().value());
  }

  void connect(const NetNs& ns, const std::string& link, const std::string& v4,
               const std::string& v6) {
    runCommand("ip link add " + link + " type veth peer name eth0 netns " + path(ns));
    runCommand("ip link set " + link + " up; ip addr add " + v4 + ".1/24 dev " + link +
               "; ip addr add " + v6 + "::1/64 dev " + link + " nodad");
    runIn(ns, "ip link set eth0 up; ip addr add " + v4 + ".2/24 dev eth0; ip addr add " + v6 +
                  "::2/64 dev eth0 nodad; ip route add default via " + v4 +
                  ".1; ip route add default via " + v6 + "::1");
  }

  /// A datagram from a port of the client, whose arrival at `serverPort` makes the flow certain.
  void flow(std::uint16_t clientPort, const char* to, std::uint16_t port,
            std::uint16_t serverPort) {
    const bool v4 = addr(to).family() == Family::kV4;
    const Udp receiver(server_, addr(v4 ? "10.1.0.2" : "fd01::2"), serverPort);
    Udp(client_, addr(v4 ? "198.18.0.2" : "fd18::2"), clientPort).send(addr(to), port);
    ASSERT_TRUE(receiver.receive()) << to << ' ' << port;
  }
  void sampleFlows() {
    flow(5001, "198.18.0.1", 53, 1053);
    flow(5002, "198.18.0.1", 53, 1053);
    flow(5003, "10.1.0.2", 99, 99);
    flow(5004, "10.1.0.2", 1053, 1053);
    flow(5005, "fd18::1", 53, 1053);
    flow(5006, "fd01::2", 99, 99);
    runIn(client_, "ping -c1 -W2 10.1.0.2");
  }

  std::vector<std::uint16_t> clientPorts(const Filter& filter) {
    auto entries = conntrack_->list(filter);
    EXPECT_TRUE(entries) << entries.error().message;
    std::vector<std::uint16_t> ports;
    for (const Entry& entry : *entries)
      ports.push_back(entry.original.sourcePort);
    std::sort(ports.begin(), ports.end());
    return ports;
  }

  NetNs host_;
  NetNs client_;
  NetNs server_;
  std::optional<Connection> conntrack_;
};

TEST_F(ConntrackTest, AnEntryTellsWhereTheFlowReallyGoes) {
  flow(5001, "198.18.0.1", 53, 1053);
  const auto entries = conntrack_->list({Family::kV4}).value();
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_EQ(toText(entries[0]), "udp 198.18.0.2:5001 > 198.18.0.1:53, answered by 10.1.0.2:1053");
  EXPECT_EQ(entries[0].original, (Tuple{addr("198.18.0.2"), addr("198.18.0.1"), 5001, 53}));
  EXPECT_EQ(entries[0].reply, (Tuple{addr("10.1.0.2"), addr("198.18.0.2"), 1053, 5001}));
}

TEST_F(ConntrackTest, FiltersSelectByEitherDirection) {
  sampleFlows();
  EXPECT_THAT(clientPorts({Family::kV4}), ElementsAre(0, 5001, 5002, 5003, 5004));
  EXPECT_THAT(clientPorts({Family::kV6}), ElementsAre(5005, 5006));
  Filter hostPort{Family::kV4, kUdp};
  hostPort.originalDestinationPort = 53;
  EXPECT_THAT(clientPorts(hostPort), ElementsAre(5001, 5002));
  Filter pod{Family::kV4};
  pod.replySource = addr("10.1.0.2");
  EXPECT_THAT(clientPorts(pod), ElementsAre(0, 5001, 5002, 5003, 5004));
  pod.protocol = kUdp;
  pod.replySourcePort = 1053;
  EXPECT_THAT(clientPorts(pod), ElementsAre(5001, 5002, 5004));
  pod.originalDestination = addr("10.1.0.2");
  EXPECT_THAT(clientPorts(pod), ElementsAre(5004));
  Filter v6{Family::kV6, kUdp};
  v6.originalDestination = addr("fd18::1");
  EXPECT_THAT(clientPorts(v6), ElementsAre(5005));
  v6.originalSource = addr("fd18::3");
  EXPECT_THAT(clientPorts(v6), IsEmpty());
}

TEST_F(ConntrackTest, PortsAreFilteredWithoutAProtocolToo) {
  sampleFlows();
  Filter filter{Family::kV4};
  filter.originalDestinationPort = 53;
  EXPECT_THAT(clientPorts(filter), ElementsAre(5001, 5002));
}

TEST_F(ConntrackTest, RemovingTakesOutWhatMatchesAndNothingElse) {
  sampleFlows();
  Filter hostPort{Family::kV4, kUdp};
  hostPort.originalDestinationPort = 53;
  EXPECT_EQ(conntrack_->removeMatching(hostPort).value(), 2U);
  EXPECT_THAT(clientPorts({Family::kV4}), ElementsAre(0, 5003, 5004));
  EXPECT_THAT(clientPorts({Family::kV6}), ElementsAre(5005, 5006));
  EXPECT_EQ(conntrack_->removeMatching(hostPort).value(), 0U);
  Filter icmp{Family::kV4, IPPROTO_ICMP};
  EXPECT_EQ(conntrack_->removeMatching(icmp).value(), 1U);
  EXPECT_THAT(clientPorts({Family::kV4}), ElementsAre(5003, 5004));
}

TEST_F(ConntrackTest, AFlowFollowsANewTranslationOnlyAfterRemoval) {
  flow(5001, "198.18.0.1", 53, 1053);
  runCommand("nft flush chain inet t pre");
  runCommand("nft add rule inet t pre ip daddr 198.18.0.1 udp dport 53 dnat ip to 10.1.0.2:2053");
  flow(5001, "198.18.0.1", 53, 1053);  // still to the old port
  Filter hostPort{Family::kV4, kUdp};
  hostPort.originalDestinationPort = 53;
  ASSERT_TRUE(conntrack_->removeMatching(hostPort));
  flow(5001, "198.18.0.1", 53, 2053);
}

TEST_F(ConntrackTest, EntriesThatAreGoneAreNotCountedAndNoFailure) {
  sampleFlows();
  const auto entries = conntrack_->list({Family::kV4}).value();
  EXPECT_EQ(conntrack_->remove({entries[0], entries[0], entries[1]}).value(), 2U);
  EXPECT_EQ(conntrack_->remove(entries).value(), entries.size() - 2);
}

/// The conditions that `bits` choose, as `like` fulfils them.
Filter filterLike(const Entry& like, unsigned bits) {
  Filter filter{like.family};
  if ((bits & 1) != 0) filter.protocol = like.protocol;
  if ((bits & 2) != 0) filter.originalSource = like.original.source;
  if ((bits & 4) != 0) filter.originalDestination = like.original.destination;
  if ((bits & 8) != 0) filter.originalDestinationPort = like.original.destinationPort;
  if ((bits & 16) != 0) filter.replySource = like.reply.source;
  if ((bits & 32) != 0) filter.replySourcePort = like.reply.sourcePort;
  return filter;
}

/// The kernel's own filter, which has had defects, may make the answer come sooner, not differ.
TEST_F(ConntrackTest, EveryCombinationOfConditionsGivesTheEntriesThatMatch) {
  sampleFlows();
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto all = conntrack_->list({family}).value();
    ASSERT_GE(all.size(), 2U);
    for (const Entry& like : all) {
      for (unsigned bits = 0; bits < 64; ++bits) {
        const Filter filter = filterLike(like, bits);
        const auto expected = std::count_if(
            all.begin(), all.end(), [&](const Entry& entry) { return filter.matches(entry); });
        EXPECT_EQ(conntrack_->list(filter).value().size(), static_cast<std::size_t>(expected))
            << toText(like) << " bits " << bits;
      }
    }
  }
}

TEST_F(ConntrackTest, EntriesOfZonesAreRemovedAsWell) {
  runCommand("nft 'add chain inet t raw { type filter hook prerouting priority -300; }'");
  runCommand("nft add rule inet t raw iifname client ct zone set 7");
  runCommand("nft add rule inet t raw iifname server ct zone set 7");
  flow(5003, "10.1.0.2", 99, 99);
  Filter pod{Family::kV4, kUdp};
  pod.replySource = addr("10.1.0.2");
  EXPECT_EQ(conntrack_->removeMatching(pod).value(), 1U);
  EXPECT_THAT(clientPorts({Family::kV4}), IsEmpty());
}

TEST_F(ConntrackTest, HundredsOfEntriesAreRemovedInOneCall) {
  constexpr std::uint16_t kFlows = 350;
  const Udp receiver(server_, addr("10.1.0.2"), 99);
  for (std::uint16_t i = 0; i < kFlows; ++i) {
    Udp(client_, addr("198.18.0.2"), static_cast<std::uint16_t>(10000 + i))
        .send(addr("10.1.0.2"), 99);
    ASSERT_TRUE(receiver.receive());
  }
  flow(5001, "198.18.0.1", 53, 1053);
  Filter pod{Family::kV4, kUdp};
  pod.originalDestinationPort = 99;
  EXPECT_EQ(conntrack_->removeMatching(pod).value(), std::size_t{kFlows});
  EXPECT_THAT(clientPorts({Family::kV4}), ElementsAre(5001));
}

TEST_F(ConntrackTest, RefusesToRemoveEverything) {
  flow(5001, "198.18.0.1", 53, 1053);
  EXPECT_EQ(conntrack_->removeMatching({Family::kV4}).error().code, Errc::kInvalidConfig);
  EXPECT_THAT(clientPorts({Family::kV4}), SizeIs(1));
}

TEST(ConntrackParseTest, TruncatedEntriesAreNone) {
  EXPECT_EQ(parseEntry(Family::kV4, netlink::Attributes("")), std::nullopt);
  // CTA_TUPLE_ORIG, nested, that claims more bytes than there are
  const char bytes[] = {12, 0, CTA_TUPLE_ORIG, static_cast<char>(0x80), 1, 2, 3, 4};
  EXPECT_EQ(parseEntry(Family::kV4, netlink::Attributes({bytes, sizeof bytes})), std::nullopt);
}

}  // namespace
}  // namespace culvert::conntrack
