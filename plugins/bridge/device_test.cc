#include "plugins/bridge/device.h"

#include <gtest/gtest.h>

namespace culvert::plugins {
namespace {

std::vector<IpPrefix> prefixes(std::initializer_list<const char*> texts) {
  std::vector<IpPrefix> list;
  for (const char* text : texts)
    list.push_back(*IpPrefix::parse(text));
  return list;
}

TEST(GatewayConflicts, TheSameAddressIsNone) {
  EXPECT_TRUE(
      conflicting(prefixes({"10.1.0.1/24", "fe80::1/64"}), prefixes({"10.1.0.1/24"})).empty());
}

TEST(GatewayConflicts, AnyOtherIpv4AddressIsOne) {
  EXPECT_EQ(conflicting(prefixes({"192.168.7.1/24"}), prefixes({"10.1.0.1/24"})),
            prefixes({"192.168.7.1/24"}));
  EXPECT_EQ(conflicting(prefixes({"10.1.0.1/16"}), prefixes({"10.1.0.1/24"})),
            prefixes({"10.1.0.1/16"}));
}

TEST(GatewayConflicts, Ipv6AddressesConflictWhereTheyOverlap) {
  EXPECT_EQ(conflicting(prefixes({"2001:db8::9/48"}), prefixes({"2001:db8::1/64"})),
            prefixes({"2001:db8::9/48"}));
  EXPECT_TRUE(conflicting(prefixes({"2001:db8:1::1/64"}), prefixes({"2001:db8::1/64"})).empty());
}

TEST(GatewayConflicts, FamiliesDoNotConflict) {
  EXPECT_TRUE(conflicting(prefixes({"10.1.0.1/24"}), prefixes({"2001:db8::1/64"})).empty());
}

TEST(GatewayConflicts, SeveralWantedAddressesAreNotEachOthersConflict) {
  const auto wanted = prefixes({"10.1.0.1/24", "10.2.0.1/24"});
  EXPECT_TRUE(conflicting(wanted, wanted).empty());
}

TEST(PortVlans, TheAccessVlanIsUntaggedAndTheTrunkGoesRoundIt) {
  BridgeConfig config;
  config.vlan = 5;
  config.trunk = {{.first = 3, .last = 8}, {.first = 5, .last = 5}, {.first = 20, .last = 20}};
  EXPECT_EQ(plannedPortVlans(config),
            (std::vector<netlink::PortVlan>{{.first = 5, .last = 5, .pvid = true, .untagged = true},
                                            {.first = 3, .last = 4},
                                            {.first = 6, .last = 8},
                                            {.first = 20, .last = 20}}));
}

TEST(PortVlans, ATrunkAloneKeepsTheDefaultVlanNative) {
  BridgeConfig config;
  config.trunk = {{.first = 101, .last = 101}};
  EXPECT_EQ(plannedPortVlans(config),
            (std::vector<netlink::PortVlan>{{.first = 1, .last = 1, .pvid = true, .untagged = true},
                                            {.first = 101, .last = 101}}));
  EXPECT_TRUE(plannedPortVlans(BridgeConfig{}).empty());
}

}  // namespace
}  // namespace culvert::plugins
