#include "hostfw/spoof_check_table.h"

#include <gtest/gtest.h>

namespace culvert::hostfw::spoof_check {
namespace {

TEST(SpoofCheckTableTest, FrameIsOneRule) {
  nft::Transaction tx;
  addFrame(tx);
  EXPECT_EQ("\n" + tx.toText(), R"(
add table bridge culvert_cni
add set bridge culvert_cni guarded { type ifname; }
add set bridge culvert_cni allowed { type ifname . ether_addr; }
add map bridge culvert_cni macs { type ifname : ether_addr; }
add chain bridge culvert_cni prerouting { type filter hook prerouting priority -300; policy accept; }
flush chain bridge culvert_cni prerouting
add rule bridge culvert_cni prerouting iifname @guarded iifname . ether saddr != @allowed drop
)");
}

TEST(SpoofCheckTableTest, ElementsNameInterfaceAddressAndOwner) {
  const MacAddress mac = MacAddress::parse("02:00:00:00:00:01").value();
  EXPECT_EQ(toText(guardedSet(), guarded("veth0", "tag")), "\"veth0\" comment \"tag\"");
  EXPECT_EQ(toText(allowedSet(), allowed("veth0", mac, "tag")),
            "\"veth0\" . 02:00:00:00:00:01 comment \"tag\"");
  EXPECT_EQ(toText(macMap(), macOf("veth0", mac, "tag")),
            "\"veth0\" comment \"tag\" : 02:00:00:00:00:01");
}

}  // namespace
}  // namespace culvert::hostfw::spoof_check
