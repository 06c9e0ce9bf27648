#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/lwtunnel.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <linux/wireguard.h>
#include <net/if.h>

#include <linux/if_link.h>

#include "netlink/changes.h"
#include "netlink/monitor.h"
#include "netlink/wireguard.h"

// Parsers of what the kernel sends: hostile bytes, and what our types cannot express.
namespace culvert::netlink {
namespace {

template <class T>
std::string bytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string attribute(int type, const std::string& value) {
  const nlattr header{static_cast<std::uint16_t>(NLA_HDRLEN + value.size()),
                      static_cast<std::uint16_t>(type)};
  std::string bytes = bytesOf(header) + value;
  bytes.resize(NLA_ALIGN(bytes.size()));
  return bytes;
}
template <class T>
std::string attribute(int type, const T& value) requires std::is_trivially_copyable_v<T> {
  return attribute(type, bytesOf(value));
}

const std::string kV4("\xc6\x12\x00\x02", 4);

std::string encap() {
  return attribute(LWTUNNEL_IP_DST, kV4) +
         attribute(LWTUNNEL_IP_ID, std::string("\0\0\0\0\0\0\0\x4d", 8)) +
         attribute(LWTUNNEL_IP_FLAGS, std::string("\x01\x05", 2));
}

Reply nexthop(const std::string& more = "") {
  nhmsg header{};
  header.nh_family = AF_INET;
  header.nh_flags = RTNH_F_ONLINK;
  return {RTM_NEWNEXTHOP, 0,
          bytesOf(header) + attribute(NHA_ID, 7U) + attribute(NHA_OIF, 3U) +
              attribute(NHA_GATEWAY, kV4) +
              attribute(NHA_ENCAP_TYPE, std::uint16_t{LWTUNNEL_ENCAP_IP}) +
              attribute(NHA_ENCAP, encap()) + more};
}

Reply route() {
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_dst_len = 32;
  const std::uint16_t six = AF_INET6;
  return {RTM_NEWROUTE, 0,
          bytesOf(header) + attribute(RTA_DST, kV4) + attribute(RTA_NH_ID, 7U) +
              attribute(RTA_VIA, bytesOf(six) + std::string(16, '\1')) +
              attribute(RTA_ENCAP_TYPE, std::uint16_t{LWTUNNEL_ENCAP_IP}) +
              attribute(RTA_ENCAP, encap()) +
              attribute(RTA_MULTIPATH, bytesOf(rtnexthop{64, 0, 0, 9}) + std::string(9, 'x'))};
}

Reply fdb() {
  ndmsg header{};
  header.ndm_family = AF_BRIDGE;
  return {RTM_NEWNEIGH, 0,
          bytesOf(header) + attribute(NDA_LLADDR, std::string("\2\0\0\0\0\1", 6)) +
              attribute(NDA_DST, kV4) + attribute(NDA_PORT, std::uint16_t{0x1821})};
}

Reply vxlan() {
  const std::string data = attribute(IFLA_VXLAN_ID, 5U) + attribute(IFLA_VXLAN_LOCAL, kV4) +
                           attribute(IFLA_VXLAN_GPE, std::string());
  const std::string info =
      attribute(IFLA_INFO_KIND, std::string("vxlan")) + attribute(IFLA_INFO_DATA, data);
  return {RTM_NEWLINK, 0, bytesOf(ifinfomsg{}) + attribute(IFLA_LINKINFO, info)};
}

Reply wireguard() {
  const std::string allowed =
      attribute(0, attribute(WGALLOWEDIP_A_FAMILY, std::uint16_t{AF_INET}) +
                       attribute(WGALLOWEDIP_A_IPADDR, kV4) +
                       attribute(WGALLOWEDIP_A_CIDR_MASK, std::uint8_t{32}));
  const std::string peer = attribute(WGPEER_A_PUBLIC_KEY, std::string(32, 'k')) +
                           attribute(WGPEER_A_LAST_HANDSHAKE_TIME, std::string(16, '\x7f')) +
                           attribute(WGPEER_A_ENDPOINT, std::string(16, '\2')) +
                           attribute(WGPEER_A_ALLOWEDIPS, allowed);
  return {64, 0,
          bytesOf(genlmsghdr{}) + attribute(WGDEVICE_A_LISTEN_PORT, std::uint16_t{9}) +
              attribute(WGDEVICE_A_PEERS, attribute(0, peer))};
}

TEST(RoutingParsers, NoCutOrTwistedMessageIsReadBeyondItsEnd) {
  for (const Reply& whole : {nexthop(), route(), fdb(), vxlan(), wireguard()}) {
    for (std::size_t size = 0; size <= whole.payload.size(); ++size) {
      Reply cut = whole;
      cut.payload = std::string(whole.payload, 0, size);
      cut.payload.shrink_to_fit();  // so that the address sanitizer sees the end
      WireguardDevice device;
      parseWireguard(cut, device);
      parseEvents(cut, [](const Event&) {});
    }
    for (std::size_t at = 0; at < 256 * whole.payload.size(); ++at) {
      Reply twisted = whole;
      twisted.payload[at / 256] = static_cast<char>(at % 256);
      WireguardDevice device;
      parseWireguard(twisted, device);
      parseEvents(std::move(twisted), [](const Event&) {});
    }
  }
}

TEST(RoutingParsers, ANexthopHasItsTunnel) {
  const auto found = parseNexthop(nexthop());
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->onLink);
  EXPECT_EQ(found->gateway, IpAddress::parse("198.18.0.2"));
  ASSERT_TRUE(found->encap);
  EXPECT_EQ(found->encap->id, 77U);
  EXPECT_TRUE(found->encap->checksum && found->encap->dontFragment);
  EXPECT_EQ(describe(*found), "nexthop 7 via 198.18.0.2 encap id 77 dst 198.18.0.2");
}

TEST(RoutingParsers, NexthopsThatOurTypeCannotExpressAreNone) {
  EXPECT_FALSE(parseNexthop(nexthop(attribute(NHA_FDB, std::string()))));
  EXPECT_FALSE(
      parseNexthop(nexthop(attribute(NHA_GROUP_TYPE, std::uint16_t{NEXTHOP_GRP_TYPE_RES}))));
  EXPECT_FALSE(parseNexthop({RTM_NEWNEXTHOP, 0, ""}));
  EXPECT_FALSE(parseNexthop({RTM_NEWROUTE, 0, nexthop().payload}));
}

TEST(RoutingParsers, ARouteByNexthopIsOneWhateverItsMultipathSays) {
  const auto routes = parseRoutes(route());
  ASSERT_EQ(routes.size(), 1U);
  EXPECT_EQ(routes[0].nexthopId, 7U);
  EXPECT_EQ(routes[0].gateway->family(), Family::kV6);
}

TEST(RoutingParsers, APeerGoesOnInTheNextMessage) {
  WireguardDevice device;
  parseWireguard(wireguard(), device);
  parseWireguard(wireguard(), device);
  ASSERT_EQ(device.peers.size(), 1U);
  EXPECT_EQ(device.peers[0].allowedIps.size(), 2U);
  EXPECT_FALSE(device.peers[0].lastHandshake) << "no time that fits";
  EXPECT_FALSE(device.peers[0].endpoint) << "of no family";
}

TEST(RoutingParsers, EventsSayWhoAskedAndWhetherItIsGone) {
  Reply gone = nexthop();
  gone.type = RTM_DELNEXTHOP;
  gone.port = 4711;
  int seen = 0;
  parseEvents(gone, [&](const Event& event) {
    ++seen;
    EXPECT_EQ(event.port, 4711U);
    const auto* removed = std::get_if<Removed<NexthopSpec>>(&event.what);
    ASSERT_NE(removed, nullptr);
    EXPECT_EQ(removed->object.id, 7U);
  });
  EXPECT_EQ(seen, 1);
}

RouteSpec to(const char* prefix) {
  RouteSpec route;
  route.dst = *IpPrefix::parse(prefix);
  return route;
}

TEST(IsRoute, WhatIsLeftOutIsTheKernelsDefault) {
  RouteSpec wanted = to("2001:db8::/64");
  RouteSpec actual = wanted;
  actual.table = 254;
  actual.scope = 0;
  actual.priority = 1024;
  actual.link = static_cast<IfIndex>(3);
  EXPECT_TRUE(isRoute(wanted, actual));
  wanted.priority = 5;
  EXPECT_FALSE(isRoute(wanted, actual));
}

TEST(IsRoute, TheTunnelTheGatewayAndWhoMadeItCount) {
  const RouteSpec wanted = to("10.1.0.0/24");
  RouteSpec other = wanted;
  other.encap = TunnelEncap{.id = 1, .destination = *IpAddress::parse("198.18.0.2")};
  EXPECT_FALSE(isRoute(wanted, other));
  other = wanted;
  other.gateway = IpAddress::parse("198.18.0.2");
  EXPECT_FALSE(isRoute(wanted, other));
  other = wanted;
  other.protocol = 4;
  EXPECT_FALSE(isRoute(wanted, other));
  EXPECT_FALSE(isRoute(wanted, to("10.1.0.0/25")));
}

TEST(IsRoute, ByNexthopOnlyTheIdCounts) {
  RouteSpec wanted = to("10.1.0.0/24");
  wanted.nexthopId = 7;
  RouteSpec actual = wanted;
  actual.gateway = IpAddress::parse("198.18.0.2");
  actual.link = static_cast<IfIndex>(3);
  actual.type = RTN_BLACKHOLE;
  EXPECT_TRUE(isRoute(wanted, actual));
  actual.nexthopId = 8;
  EXPECT_FALSE(isRoute(wanted, actual));
}

TEST(SortForApplying, WhatIsNeededComesFirstAndRemovalsComeLastTheOtherWayRound) {
  using How = Change::How;
  const NexthopSpec single{.id = 1};
  const NexthopSpec group{.id = 2, .group = {{.id = 1}}};
  std::vector<Change> changes{{How::kRemove, single},
                              {How::kRemove, to("10.1.0.0/24")},
                              {How::kReplace, to("10.2.0.0/24")},
                              {How::kCreate, to("10.3.0.0/24")},
                              {How::kReplace, group},
                              {How::kReplace, FdbEntry{}},
                              {How::kReplace, NeighbourSpec{}},
                              {How::kReplace, single},
                              {How::kRemove, group}};
  sortForApplying(changes);
  std::vector<std::string> order;
  for (const Change& change : changes)
    order.push_back(describe(change));
  EXPECT_EQ(order, (std::vector<std::string>{
                       "replace nexthop 1", "replace nexthop 2 of 1", "replace neighbour 0.0.0.0",
                       "replace forwarding entry 00:00:00:00:00:00 to 0.0.0.0",
                       "replace route 10.2.0.0/24", "create route 10.3.0.0/24",
                       "remove route 10.1.0.0/24", "remove nexthop 2 of 1", "remove nexthop 1"}));
}

}  // namespace
}  // namespace culvert::netlink
