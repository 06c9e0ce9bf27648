#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipam/dhcp/domain_names.h"
#include "ipam/dhcp/lease.h"
#include "ipam/dhcp/message4.h"
#include "ipam/dhcp/message6.h"

using namespace std::string_literals;

namespace culvert::ipam::dhcp {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Message4 ack() {
  return {.fromServer = true,
          .xid = 7,
          .seconds = 0,
          .broadcast = false,
          .clientAddress = {},
          .yourAddress = *IpAddress::parse("10.1.2.3"),
          .hardware = *MacAddress::parse("02:00:00:00:00:01"),
          .options = {{kMessageType, "\5"},
                      {kSubnetMask, "\xff\xff\xff\0"s},
                      {kServerIdentifier, "\x0a\1\2\1"},
                      {kLeaseTime, "\0\0\0\x64"s}}};
}

std::string withOption(std::uint8_t code, const std::string& value, std::uint8_t length) {
  std::string bytes = encode4(ack());
  bytes.resize(240);
  bytes += "\x35\1\5"s;
  bytes += static_cast<char>(code);
  bytes += static_cast<char>(length);
  return bytes + value;
}

// --- names -------------------------------------------------------------------------------------

TEST(DomainNames, AreReadOneAfterAnother) {
  EXPECT_THAT(*parseDomainNames("\1a\4test\0\1b\0"s), ElementsAre("a.test", "b"));
  EXPECT_THAT(*parseDomainNames(""), IsEmpty());
}

TEST(DomainNames, FollowPointersBackwardsOnly) {
  EXPECT_THAT(*parseDomainNames("\4test\0\1a\xc0\0"s), ElementsAre("test", "a.test"));
  EXPECT_FALSE(parseDomainNames("\xc0\0"s));
  EXPECT_FALSE(parseDomainNames("\1a\xc0\0"s));
  EXPECT_FALSE(parseDomainNames("\1a\xc0\5\0"s));
}

TEST(DomainNames, AreRefusedWhenCutShort) {
  EXPECT_FALSE(parseDomainNames("\4tes"));
  EXPECT_FALSE(parseDomainNames("\1a"));
  EXPECT_FALSE(parseDomainNames("\1a\xc0"));
}

TEST(DomainNames, LeaveOutWhatCouldNotStandInResolvConf) {
  EXPECT_THAT(*parseDomainNames("\3a\nb\0\2ok\0"s), ElementsAre("ok"));
  EXPECT_TRUE(isDomainName("a-b_c.example"));
  for (const char* bad : {"", ".", "a..b", "a b", "a\nb", ".a", "a."})
    EXPECT_FALSE(isDomainName(bad)) << bad;
  EXPECT_FALSE(isDomainName(std::string(64, 'a')));
}

// --- DHCPv4 messages ---------------------------------------------------------------------------

TEST(Message4, ReadsWhatItWrote) {
  const auto parsed = parse4(encode4(ack()));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->xid, 7U);
  EXPECT_EQ(parsed->type(), Type4::kAck);
  EXPECT_EQ(parsed->yourAddress.text(), "10.1.2.3");
  EXPECT_EQ(parsed->options, ack().options);
  EXPECT_EQ(encode4(ack()).size(), 300U);
}

TEST(Message4, SplitsLongOptionsAndJoinsThem) {
  Message4 message = ack();
  message.options[kClasslessRoute] = std::string(600, 'x');
  EXPECT_EQ(parse4(encode4(message))->options, message.options);
}

TEST(Message4, ReadsOptionsFromOverloadedFields) {
  std::string bytes = encode4(ack());
  bytes.resize(240);
  bytes += "\x35\1\5\x34\1\3\xff"s;
  bytes.replace(108, 6, "\1\4\xff\xff\0\0"s);  // file
  bytes.replace(44, 4, "\xc\2hi");             // sname
  const auto parsed = parse4(bytes);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->options.at(kSubnetMask), "\xff\xff\0\0"s);
  EXPECT_EQ(parsed->options.at(kHostName), "hi");
}

TEST(Message4, RefusesWhatIsMalformed) {
  const std::string good = encode4(ack());
  EXPECT_FALSE(parse4(""));
  for (std::size_t size : {1U, 100U, 239U})
    EXPECT_FALSE(parse4(good.substr(0, size))) << size;
  // Too short for `file`, with the cookie where a careless reader would look for it next.
  EXPECT_FALSE(parse4(good.substr(0, 108) + "\x63\x82\x53\x63\x35\1\5\x34\1\3\xff"));
  EXPECT_FALSE(parse4(withOption(kSubnetMask, "\xff", 4)));
  EXPECT_FALSE(parse4(withOption(kOverload, "\4", 1)));
  std::string bad = good;
  bad[0] = 3;
  EXPECT_FALSE(parse4(bad));
  bad = good;
  bad[236] = 0;
  EXPECT_FALSE(parse4(bad)) << "no cookie";
  bad = good;
  bad[2] = 16;
  EXPECT_FALSE(parse4(bad)) << "no Ethernet";
}

TEST(Packet4, CarriesItsPayload) {
  std::string packet = packet4(*IpAddress::parse("10.0.0.1"), *IpAddress::parse("10.0.0.2"), "odd");
  EXPECT_FALSE(payload4(packet, true)) << "it is for the server's port";
  packet.replace(22, 2, "\0\x44"s);  // to port 68
  EXPECT_FALSE(payload4(packet, true)) << "the checksum no longer fits";
  EXPECT_EQ(payload4(packet, false), "odd");
  packet.replace(26, 2, "\0\0"s);  // none
  EXPECT_EQ(payload4(packet + "padding", true), "odd");
}

TEST(Packet4, IsRefusedWhenDamaged) {
  std::string packet =
      packet4(*IpAddress::parse("10.0.0.1"), *IpAddress::parse("10.0.0.2"), "four");
  packet.replace(22, 2, "\0\x44"s);
  ASSERT_TRUE(payload4(packet, false));
  for (std::size_t at = 0; at < 20; ++at) {
    std::string damaged = packet;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    EXPECT_FALSE(payload4(damaged, false)) << "byte " << at;
  }
  for (std::size_t size = 0; size < packet.size(); ++size)
    EXPECT_FALSE(payload4(packet.substr(0, size), false)) << size;
}

// --- what they grant ---------------------------------------------------------------------------

Lease4 granted(const Options4& more) {
  Message4 message = ack();
  for (const auto& [code, value] : more)
    message.options[code] = value;
  const auto lease = readLease4(message, seconds(1000));
  EXPECT_TRUE(lease) << lease.error().message;
  return *lease;
}

std::string refusal(std::uint8_t code, const std::string& value) {
  Message4 message = ack();
  message.options[code] = value;
  const auto lease = readLease4(message, seconds(0));
  return lease ? "none" : lease.error().message;
}

TEST(Lease4, IsRenewedAtHalfAndReboundAtSevenEighths) {
  const Schedule schedule = granted({}).schedule;
  EXPECT_EQ(schedule.renewAt, seconds(1050));
  EXPECT_EQ(schedule.rebindAt, std::chrono::milliseconds(1'087'500));
  EXPECT_EQ(schedule.expiresAt, seconds(1100));
}

TEST(Lease4, TakesTheServersTimesIfTheyAreInOrder) {
  EXPECT_EQ(
      granted({{kRenewalTime, "\0\0\0\x0a"s}, {kRebindingTime, "\0\0\0\x14"s}}).schedule.renewAt,
      seconds(1010));
  EXPECT_EQ(
      granted({{kRenewalTime, "\0\0\0\x14"s}, {kRebindingTime, "\0\0\0\x0a"s}}).schedule.renewAt,
      seconds(1050));
}

TEST(Lease4, MayBeForEver) {
  EXPECT_EQ(granted({{kLeaseTime, "\xff\xff\xff\xff"}}).schedule, Schedule());
}

TEST(Lease4, RoutesThroughTheRouter) {
  const Lease4 lease = granted({{kRouter, "\x0a\1\2\1\x0a\1\2\2"}});
  EXPECT_EQ(lease.gateway->text(), "10.1.2.1");
  ASSERT_EQ(lease.routes.size(), 1U);
  EXPECT_TRUE(lease.routes[0].dst.isDefault());
}

TEST(Lease4, TakesClassfulRoutesWithTheRouter) {
  const Lease4 lease = granted({{kRouter, "\x0a\1\2\1"}, {kStaticRoute, "\xac\x10\5\5\x0a\1\2\7"}});
  ASSERT_EQ(lease.routes.size(), 2U);
  EXPECT_EQ(lease.routes[0].dst.text(), "172.16.0.0/16");
}

TEST(Lease4, TakesClasslessRoutesInsteadOfTheRouter) {
  const Lease4 lease = granted({{kRouter, "\x0a\1\2\1"},
                                {kStaticRoute, "\xac\x10\5\5\x0a\1\2\7"},
                                {kClasslessRoute, "\x08\x0b\0\0\0\0\0\x0a\1\2\x09"s}});
  ASSERT_EQ(lease.routes.size(), 2U);
  EXPECT_EQ(lease.routes[0].dst.text(), "11.0.0.0/8");
  EXPECT_EQ(lease.routes[0].scope, 253U);
  EXPECT_EQ(lease.gateway->text(), "10.1.2.9");
}

TEST(Lease4, PassesOverMalformedClasslessRoutes) {
  EXPECT_EQ(granted({{kRouter, "\x0a\1\2\1"}, {kClasslessRoute, "\x21\1\1\1"}}).routes.size(), 1U);
}

TEST(Lease4, IsRefusedWithoutWhatItNeeds) {
  EXPECT_THAT(refusal(kSubnetMask, "\xff\0\xff\0"s), "no valid subnet mask");
  EXPECT_THAT(refusal(kSubnetMask, "\xff"), "no valid subnet mask");
  EXPECT_THAT(refusal(kLeaseTime, "\0\0\0\1"s), "a lease of 1 s");
  EXPECT_THAT(refusal(kLeaseTime, ""), "no lease time");
  EXPECT_THAT(refusal(kServerIdentifier, "\0\0\0\0"s), "no server identifier");
}

TEST(Lease4, KeepsOnlyNamesAndServersThatMakeSense) {
  const Lease4 lease = granted({{kDomainName, "a.test\0"s},
                                {kDnsServer, "\0\0\0\0\x0a\1\2\x35\x7f\0\0\1"s},
                                {kInterfaceMtu, "\0\x10"s}});
  EXPECT_EQ(lease.dns.domain, "a.test");
  EXPECT_THAT(lease.dns.nameservers, ElementsAre("10.1.2.53"));
  EXPECT_FALSE(lease.mtuBytes);
  EXPECT_EQ(granted({{kDomainName, "evil\nnameserver 6.6.6.6"}}).dns.domain, "");
}

TEST(Result, CarriesPriorityAndMtuOnRoutes) {
  const Leases leases{.v4 = granted({{kRouter, "\x0a\1\2\1"}, {kInterfaceMtu, "\5\x78"}}),
                      .v6 = {}};
  const cni::AddResult result = toResult(leases, 7);
  EXPECT_EQ(result.routes.at(0).priority, 7U);
  EXPECT_EQ(result.routes.at(0).mtuBytes, 1400U);
  EXPECT_EQ(toResult(leases, 0).routes.at(0).priority, std::nullopt);
  EXPECT_EQ(result.ips.at(0).address.text(), "10.1.2.3/24");
}

// --- DHCPv6 ------------------------------------------------------------------------------------

Message6 reply() {
  Message6 message;
  message.type = Type6::kReply;
  message.transaction = 0xabcdef;
  message.clientId = duidOf("c");
  message.serverId = "\0\1server"s;
  message.associations = {
      {.iaid = 1,
       .renewSeconds = 10,
       .rebindSeconds = 20,
       .entries = {
           {.address = *IpAddress::parse("fd00::5"), .preferredSeconds = 30, .validSeconds = 40}}}};
  message.dnsServers = {*IpAddress::parse("fd00::53")};
  message.domainSearch = {"six.test"};
  return message;
}

TEST(Message6, ReadsWhatItWrote) {
  Message6 message = reply();
  message.requested = {23, 24};
  message.elapsedHundredths = 12;
  message.preference = 255;
  message.status = kNoBinding;
  message.solicitMaxSeconds = 600;
  message.associations[0].entries[0].status = 2;
  const auto parsed = parse6(encode6(message));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, message);
}

TEST(Message6, IsRefusedWhenCutShort) {
  const std::string good = encode6(reply());
  for (std::size_t size : {0U, 3U, 5U, 7U, 30U})
    EXPECT_FALSE(parse6(good.substr(0, size))) << size;
  EXPECT_TRUE(parse6(good.substr(0, 4)));
  EXPECT_FALSE(parse6("\x0c\0\0\0"s)) << "a relay's message";
}

TEST(Lease6, IsOneAddressWithItsTimes) {
  const auto lease = readLease6(reply(), 1, seconds(100));
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_EQ(lease->address.text(), "fd00::5/128");
  EXPECT_EQ(lease->schedule.renewAt, seconds(110));
  EXPECT_EQ(lease->schedule.expiresAt, seconds(140));
  EXPECT_THAT(lease->dns.search, ElementsAre("six.test"));
}

TEST(Lease6, IsRefusedWithoutAUsableAddress) {
  EXPECT_FALSE(readLease6(reply(), 2, seconds(0))) << "another association's";
  Message6 message = reply();
  message.associations[0].status = 2;
  EXPECT_FALSE(readLease6(message, 1, seconds(0)));
  for (const char* bad : {"::", "::1", "fe80::1", "ff02::1"}) {
    message = reply();
    message.associations[0].entries[0].address = *IpAddress::parse(bad);
    EXPECT_FALSE(readLease6(message, 1, seconds(0))) << bad;
  }
  message = reply();
  message.associations[0].entries[0].preferredSeconds = 50;
  EXPECT_FALSE(readLease6(message, 1, seconds(0))) << "preferred longer than valid";
}

TEST(Duid, FollowsFromTheNameAlone) {
  EXPECT_EQ(duidOf("a"), duidOf("a"));
  EXPECT_NE(duidOf("a"), duidOf("b"));
  EXPECT_EQ(duidOf("a").size(), 18U);
  EXPECT_EQ(duidOf("a").substr(0, 2), "\0\4"s);
}

}  // namespace
}  // namespace culvert::ipam::dhcp
