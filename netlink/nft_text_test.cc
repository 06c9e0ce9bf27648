#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "netlink/nft_encode.h"
#include "netlink/nft_samples.h"

namespace culvert::nft {
namespace {

using testing::HasSubstr;

// What sampleTransaction() in nft_samples.h does. nft_transaction_test.cc shows that nft agrees.
constexpr const char* kSampleText = R"(
add table inet t
create table bridge t
add table ip t
add chain inet t helper
add chain inet t forward { type filter hook forward priority -5; policy drop; }
add chain inet t postrouting { type nat hook postrouting priority 100; policy accept; }
add chain inet t prerouting { type nat hook prerouting priority -100; policy accept; }
add chain inet t raw { type filter hook prerouting priority -300; policy accept; }
add chain bridge t prerouting { type filter hook prerouting priority -300; policy accept; }
create chain ip t output { type route hook output priority -150; policy accept; }
add set inet t l4 { type inet_proto . inet_service; }
add set inet t hosts { type ipv4_addr; comment "one per pod"; }
add set inet t hosts6 { type ipv6_addr; }
add set inet t flows { type ipv4_addr . inet_proto . inet_service; flags timeout; }
add map inet t services { type inet_proto . inet_service : ipv4_addr . inet_service; }
add map inet t services6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
add map inet t marks { type mark : ipv6_addr; }
add map inet t ports { type inet_service : verdict; }
add set inet t subnets { type ipv4_addr . ipv4_addr; }
add set bridge t guarded { type ifname; }
create set bridge t allowed { type ifname . ether_addr; }
add element inet t hosts { 10.1.0.2 comment "pod a", 10.1.0.3 }
create element inet t hosts6 { fd00::2 comment "pod a" }
add element inet t flows { 10.1.0.2 . tcp . 80 timeout 5400000ms comment "flow" }
add element inet t services { udp . 53 comment "dns" : 10.1.0.9 . 1053 }
add element inet t marks { 0x00000010 : fd00::9 }
add element inet t ports { 443 : accept, 80 comment "http" : goto helper }
add element inet t subnets { 10.1.0.2 . 10.1.0.0 }
add element bridge t guarded { "veth0123456789a" comment "pod a" }
add element bridge t allowed { "veth0" . 02:00:00:00:00:01 }
add rule inet t forward meta l4proto . th dport != @l4 counter drop comment "not a service"
add rule inet t forward ip saddr 10.1.0.0/16 accept
add rule inet t forward ip daddr != 224.0.0.0/4 accept
add rule inet t forward ip6 daddr ff00::/8 return
add rule inet t forward ip6 saddr fd00::/61 drop
add rule inet t forward ip daddr 10.0.0.1 tcp dport 80 th sport vmap @ports
add rule inet t forward tcp dport vmap @ports
add rule inet t forward oifname != "eth0" iifname "veth*" meta mark 0x00000010 ct mark 0x00000020 jump helper
add rule inet t forward meta l4proto udp udp dport != 53 meta mark set 0x00000005
add rule inet t forward ip saddr . ip daddr & 255.255.240.0 @subnets ct mark set 0x00000007
add rule inet t forward ip saddr & 255.255.0.255 == 10.1.0.1 drop
insert rule inet t forward ip6 saddr @hosts6 accept comment "first"
add rule inet t postrouting ip saddr @hosts masquerade
add rule inet t postrouting oifname "x" masquerade random,fully-random
add rule inet t postrouting oifname "y" masquerade fully-random
add rule inet t postrouting ip saddr 10.9.9.9 snat ip to 192.0.2.1
add rule inet t prerouting tcp dport 80 dnat ip to 10.1.0.2:8080
add rule inet t prerouting ip6 daddr fd00::1 tcp dport 80 dnat ip6 to [fd00::2]:8080
add rule inet t prerouting meta nfproto ipv6 dnat ip6 to fd00::3
add rule inet t prerouting fib daddr type local jump helper
add rule inet t prerouting meta mark set meta mark | 0x00002000 dnat ip to meta l4proto . th dport map @services
add rule inet t prerouting dnat ip6 to ip6 daddr . meta l4proto . th dport map @services6
add rule inet t prerouting fib saddr type local jump helper
add rule inet t postrouting ct status dnat ct original ip daddr @hosts accept
add rule inet t forward meta l4proto tcp reject with tcp reset
add rule inet t forward meta mark 0x00000030 reject
add rule inet t raw udp dport 4790 notrack
add rule inet t forward ct state established,related meta mark set meta mark & 0xfffffff7 accept
add rule inet t forward ct state invalid ct status dnat drop
add rule inet t forward meta mark & 0x00000008 == 0x00000008 accept
add rule bridge t prerouting iifname @guarded iifname . ether saddr != @allowed drop
add rule bridge t prerouting ether daddr 01:02:03:04:05:06 ip saddr 10.0.0.1 drop
add rule ip t output ip saddr 10.0.0.1 meta mark set 0x00000001
)";

Error encodeError(const Transaction& tx) {
  auto batch = encode(tx, {}, 1);
  return batch ? Error{} : batch.error();
}

Error ruleError(const Chain& chain, Rule rule) {
  Transaction tx;
  tx.add(chain, std::move(rule));
  return encodeError(tx);
}

TEST(NftTextTest, TransactionPrintsAsNftInput) {
  EXPECT_EQ("\n" + sampleTransaction().toText(), kSampleText);
}

TEST(NftTextTest, RemovalsAndFlushesPrintWithoutContent) {
  Transaction tx;
  tx.remove(kHosts, {addr("10.1.0.2"), {}, "pod a"});
  tx.remove(kPorts, {Value::port(80), accept()});
  tx.removeRule(kForward, 7);
  tx.flush(kForward);
  tx.flush(kHosts);
  tx.flush(kInet);
  tx.remove(kServices);
  tx.remove(kForward);
  tx.remove(kInet);
  EXPECT_EQ(tx.toText(),
            "delete element inet t hosts { 10.1.0.2 }\n"
            "delete element inet t ports { 80 }\n"
            "delete rule inet t forward handle 7\n"
            "flush chain inet t forward\n"
            "flush set inet t hosts\n"
            "flush table inet t\n"
            "delete map inet t services\n"
            "delete chain inet t forward\n"
            "delete table inet t\n");
}

TEST(NftTextTest, ConsecutiveElementsOfASetAreOneOperation) {
  Transaction tx;
  tx.add(kHosts, {addr("10.0.0.1")});
  tx.add(kHosts, {addr("10.0.0.2")});
  tx.remove(kHosts, {addr("10.0.0.1")});
  tx.add(kHosts, {addr("10.0.0.1")});
  EXPECT_EQ(tx.toText(),
            "add element inet t hosts { 10.0.0.1, 10.0.0.2 }\n"
            "delete element inet t hosts { 10.0.0.1 }\n"
            "add element inet t hosts { 10.0.0.1 }\n");
}

TEST(NftTextTest, LongOperationsCanBeCut) {
  Transaction tx;
  for (int i = 0; i < 3; ++i)
    tx.add(kPorts, {Value::port(static_cast<std::uint16_t>(i)), drop()});
  EXPECT_EQ(toText(tx.operations().front(), 1),
            "add element inet t ports { 0 : drop, ... 2 more }");
}

TEST(NftValueTest, FieldsOfAConcatenationComeBackWithoutPadding) {
  const Value value = Value::concat({Value::ifName("veth0"), mac("02:00:00:00:00:01")});
  EXPECT_EQ(value.size(), 24U);
  const auto fields = value.split(kAllowed.key);
  ASSERT_EQ(fields.size(), 2U);
  EXPECT_EQ(fields[0].ifName(), "veth0");
  EXPECT_EQ(fields[1].macAddress(), mac("02:00:00:00:00:01"));
  EXPECT_TRUE(value.split(kFlows.key).empty());
}

TEST(NftValueTest, AValueOfAnotherSizePrintsAsInvalid) {
  EXPECT_EQ(toText(TypeList{DataType::kIpv4Addr}, Value(addr("fd00::1"))), "<invalid>");
  EXPECT_EQ(toText(kFlows.key, Value::port(1)), "<invalid>");
  EXPECT_EQ(Value::port(80).address(Family::kV4), addr("0.0.0.0"));
  EXPECT_EQ(Value::mark(80).port(), 0);
}

TEST(NftEncodeTest, RefusesWhatNftCouldNotPrint) {
  for (const std::string& comment :
       {std::string(129, 'x'), std::string("say \"hi\""), std::string("two\nlines")}) {
    Transaction tx;
    tx.add(kHosts, {addr("10.0.0.1"), {}, comment});
    EXPECT_EQ(encodeError(tx).code, Errc::kInvalidConfig);
    EXPECT_THAT(encodeError(tx).message, HasSubstr("add element inet t hosts { 10.0.0.1"));
    EXPECT_EQ(ruleError(kForward, {{accept()}, comment}).code, Errc::kInvalidConfig);
  }
}

TEST(NftEncodeTest, RefusesValuesOfAnotherType) {
  Transaction key;
  key.add(kHosts, {addr("fd00::1")});
  EXPECT_THAT(encodeError(key).message, HasSubstr("key does not have the set's type"));
  Transaction data;
  data.add(kMarks, {Value::mark(1), Value(addr("10.0.0.1"))});
  EXPECT_THAT(encodeError(data).message, HasSubstr("data does not have the map's type"));
  Transaction none;
  none.add(kPorts, {Value::port(1)});
  EXPECT_THAT(encodeError(none).message, HasSubstr("data does not have the map's type"));
}

TEST(NftEncodeTest, RefusesRulesThatCannotMatch) {
  EXPECT_THAT(
      ruleError(kForward,
                {{Compare{ip::kSaddr, addr("10.0.0.1")}, InSet{{ip6::kSaddr}, "hosts6"}}, {}})
          .message,
      HasSubstr("two different network protocols"));
  EXPECT_THAT(ruleError(kForward, {{Compare{meta::kL4Proto, Value::protocol(6)},
                                    Compare{udp::kDport, Value::port(53)}},
                                   {}})
                  .message,
              HasSubstr("two different transport protocols"));
  EXPECT_THAT(ruleError(kIpOutput, {{Compare{ip6::kSaddr, addr("fd00::1")}}, {}}).message,
              HasSubstr("two different network protocols"));
  EXPECT_THAT(ruleError(kForward, {{Compare{ether::kSaddr, mac("02:00:00:00:00:01")}}, {}}).message,
              HasSubstr("Ethernet fields"));
  EXPECT_THAT(ruleError(kForward, {{Compare{ip::kSaddr, Value::port(1)}}, {}}).message,
              HasSubstr("another type"));
  EXPECT_THAT(ruleError(kForward, {{InPrefix{ip::kSaddr, prefix("fd00::/64")}}, {}}).message,
              HasSubstr("another family"));
}

TEST(NftEncodeTest, ElementsFillMessagesAndOnlyTheLastOneAsksForAnAck) {
  Transaction tx;
  constexpr std::uint32_t kCount = 10000;
  for (std::uint32_t i = 0; i < kCount; ++i)
    tx.add(kMarks, {Value::mark(i), Value(addr("fd00::1"))});
  const Batch batch = encode(tx, {}, 1).value();
  EXPECT_EQ(batch.origins.size(), 7U);  // 44 bytes an element

  for (const auto& origin : batch.origins) {
    nlmsghdr header{};
    std::memcpy(&header, batch.bytes.data() + origin.offset, sizeof header);
    EXPECT_LT(header.nlmsg_len, 0x10000U);
    EXPECT_EQ((header.nlmsg_flags & NLM_F_ACK) != 0, &origin == &batch.origins.back());
  }
}

TEST(NftEncodeTest, OffsetInAMessageLeadsToItsElement) {
  Transaction tx;
  for (std::uint32_t i = 0; i < 10000; ++i)
    tx.add(kMarks, {Value::mark(i), Value(addr("fd00::1"))});
  const Batch batch = encode(tx, {}, 1).value();
  const Batch::Origin& second = batch.origins.at(1);
  std::uint32_t header = NLMSG_HDRLEN + sizeof(nfgenmsg) + 8 + 12 + NLA_HDRLEN;
  EXPECT_EQ(elementAt(batch, second, header), second.firstElement);
  EXPECT_EQ(elementAt(batch, second, header + 2 * 44 + 4), second.firstElement + 2);
  EXPECT_EQ(elementAt(batch, second, 4), std::nullopt);
}

TEST(NftUserdataTest, TruncatedListsAreNotReadBeyondTheirEnd) {
  std::string userdata;
  appendUserdata(userdata, 3, "abc", 4);
  appendUserdata(userdata, 0, "x", 2);
  EXPECT_EQ(findUserdata(userdata, 0), std::string_view("x\0", 2));
  for (std::size_t size = 0; size < userdata.size(); ++size)
    EXPECT_EQ(findUserdata(std::string_view(userdata).substr(0, size), 0), std::nullopt);
}

}  // namespace
}  // namespace culvert::nft
