#include "hostfw/masquerade_table.h"

#include <gtest/gtest.h>

namespace culvert::hostfw::masquerade {
namespace {

IpPrefix prefix(const char* text) {
  return IpPrefix::parse(text).value();
}

TEST(MasqueradeTableTest, FrameHasOneRuleForEachPrefixLength) {
  nft::Transaction tx;
  addFrame(tx, {{16, 24, 32}, {64}});
  EXPECT_EQ("\n" + tx.toText(), R"(
add table inet culvert_cni
add chain inet culvert_cni postrouting { type nat hook postrouting priority 100; policy accept; }
flush chain inet culvert_cni postrouting
add set inet culvert_cni masq_ipv4 { type ipv4_addr; }
add map inet culvert_cni owner_ipv4 { type mark . mark . mark . mark . inet_service : ipv4_addr . inet_service; }
add chain inet culvert_cni masquerade_ipv4
flush chain inet culvert_cni masquerade_ipv4
add rule inet culvert_cni masquerade_ipv4 ip daddr 224.0.0.0/4 return
add set inet culvert_cni own_ipv4_16 { type ipv4_addr . ipv4_addr; }
add rule inet culvert_cni masquerade_ipv4 ip saddr . ip daddr & 255.255.0.0 @own_ipv4_16 return
add set inet culvert_cni own_ipv4_24 { type ipv4_addr . ipv4_addr; }
add rule inet culvert_cni masquerade_ipv4 ip saddr . ip daddr & 255.255.255.0 @own_ipv4_24 return
add set inet culvert_cni own_ipv4_32 { type ipv4_addr . ipv4_addr; }
add rule inet culvert_cni masquerade_ipv4 ip saddr . ip daddr @own_ipv4_32 return
add rule inet culvert_cni masquerade_ipv4 masquerade
add rule inet culvert_cni postrouting ip saddr @masq_ipv4 goto masquerade_ipv4
add set inet culvert_cni masq_ipv6 { type ipv6_addr; }
add map inet culvert_cni owner_ipv6 { type mark . mark . mark . mark . inet_service : ipv6_addr . inet_service; }
add chain inet culvert_cni masquerade_ipv6
flush chain inet culvert_cni masquerade_ipv6
add rule inet culvert_cni masquerade_ipv6 ip6 daddr ff00::/8 return
add set inet culvert_cni own_ipv6_64 { type ipv6_addr . ipv6_addr; }
add rule inet culvert_cni masquerade_ipv6 ip6 saddr . ip6 daddr & ffff:ffff:ffff:ffff:: @own_ipv6_64 return
add rule inet culvert_cni masquerade_ipv6 masquerade
add rule inet culvert_cni postrouting ip6 saddr @masq_ipv6 goto masquerade_ipv6
)");
}

TEST(MasqueradeTableTest, AnOwnersElementsAreNumberedByFamilyAndNameTheOwner) {
  const Owner owner{"net1", "c0ffee", "eth0"};
  const OwnerHash hash = ownerHash(owner);
  const auto words = [](const std::string& hex) {
    return "0x" + hex.substr(0, 8) + " . 0x" + hex.substr(8);
  };
  const std::string key = words(hash.network) + " . " + words(hash.attachment) + " . ";
  const std::string comment = " comment \"" + ownerTag(owner) + '"';
  std::string text;
  for (const auto& [set, element] :
       elementsFor(owner, {prefix("10.1.0.2/24"), prefix("fd00::2/64"), prefix("10.2.0.2/16")}))
    text += set.name + " { " + toText(set, element) + " }\n";
  EXPECT_EQ(text, "masq_ipv4 { 10.1.0.2" + comment + " }\n" +                           //
                      "own_ipv4_24 { 10.1.0.2 . 10.1.0.0" + comment + " }\n" +          //
                      "owner_ipv4 { " + key + "0" + comment + " : 10.1.0.2 . 24 }\n" +  //
                      "masq_ipv6 { fd00::2" + comment + " }\n" +                        //
                      "own_ipv6_64 { fd00::2 . fd00::" + comment + " }\n" +             //
                      "owner_ipv6 { " + key + "0" + comment + " : fd00::2 . 64 }\n" +   //
                      "masq_ipv4 { 10.2.0.2" + comment + " }\n" +                       //
                      "own_ipv4_16 { 10.2.0.2 . 10.2.0.0" + comment + " }\n" +          //
                      "owner_ipv4 { " + key + "1" + comment + " : 10.2.0.2 . 16 }\n");
}

TEST(MasqueradeTableTest, AnAddressGivenTwiceCountsOnce) {
  EXPECT_EQ(elementsFor({"n", "c", "i"}, {prefix("10.1.0.2/24"), prefix("10.1.0.2/16")}).size(),
            3U);
}

TEST(MasqueradeTableTest, PrefixLengthsAreReadFromTheNamesOfOurSetsOnly) {
  Lengths lengths;
  noteLength(subnetSet(Family::kV4, 0), lengths);
  noteLength(subnetSet(Family::kV4, 24), lengths);
  noteLength(subnetSet(Family::kV6, 128), lengths);
  noteLength(sourceSet(Family::kV4), lengths);
  for (const char* name :
       {"own_ipv4_33", "own_ipv4_", "own_ipv4_024", "own_ipv4_8x", "own_ipv4_1000"}) {
    nft::Set set = subnetSet(Family::kV4, 24);
    set.name = name;
    noteLength(set, lengths);
  }
  EXPECT_EQ(lengths.v4, (std::set<std::uint8_t>{0, 24}));
  EXPECT_EQ(lengths.v6, (std::set<std::uint8_t>{128}));
}

TEST(MasqueradeTableTest, DataThatIsNotOursIsNoPrefix) {
  const nft::Set map = ownerMap(Family::kV4);
  const nft::Element good{{}, ownerData(prefix("10.1.0.2/24"))};
  EXPECT_EQ(parseOwnerData(Family::kV4, good), prefix("10.1.0.2/24"));
  EXPECT_EQ(parseOwnerData(Family::kV6, good), std::nullopt);
  EXPECT_EQ(parseOwnerData(Family::kV4, {}), std::nullopt);
  const nft::Value tooLong =
      nft::Value::concat({prefix("10.1.0.2/24").address(), nft::Value::port(33)});
  EXPECT_EQ(parseOwnerData(Family::kV4, {{}, tooLong}), std::nullopt);
}

}  // namespace
}  // namespace culvert::hostfw::masquerade
