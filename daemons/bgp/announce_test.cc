#include "daemons/bgp/announce.h"

#include <gtest/gtest.h>

namespace culvert::bgp {
namespace {

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

IpPrefix prefix(const char* text) {
  return IpPrefix::parse(text).value();
}

std::vector<std::string> texts(const std::vector<IpPrefix>& prefixes) {
  std::vector<std::string> list;
  for (const IpPrefix& each : prefixes)
    list.push_back(each.text());
  return list;
}

using Texts = std::vector<std::string>;

AnnounceFacts facts() {
  return {.thisNode = "a", .loadBalancerRanges = {prefix("198.18.9.0/24")}};
}

ServiceFacts balanced(const char* ip, bool local = false) {
  return {.key = "x/web", .loadBalancerIps = {address(ip)}, .externalLocal = local};
}

TEST(Announce, RangesGoAsAWholeFromEveryNode) {
  EXPECT_EQ(texts(announcements(facts(), {balanced("198.18.9.1")}, {})), Texts{"198.18.9.0/24"});
}

TEST(Announce, WithoutAggregationAddressesGoOneByOne) {
  AnnounceFacts each = facts();
  each.aggregateLoadBalancer = false;
  EXPECT_EQ(texts(announcements(each, {balanced("198.18.9.1")}, {})), Texts{"198.18.9.1/32"});
}

TEST(Announce, ARangeOfOneAddressGoesOnlyWithItsService) {
  AnnounceFacts single = facts();
  single.loadBalancerRanges = {prefix("198.18.9.1/32"), prefix("fd18:9::1/128")};
  EXPECT_EQ(texts(announcements(single, {}, {})), Texts{});
  EXPECT_EQ(texts(announcements(single, {balanced("fd18:9::1")}, {})), Texts{"fd18:9::1/128"});
}

TEST(Announce, LocalNeedsAReadyEndpointHere) {
  const std::vector<ServiceFacts> services{balanced("198.18.9.1", true)};
  const Texts without{"198.18.9.0/24"};
  const Texts with{"198.18.9.0/24", "198.18.9.1/32"};
  EXPECT_EQ(texts(announcements(facts(), services, {})), without);
  EXPECT_EQ(texts(announcements(facts(), services, {{"x/web", "a", false}})), without);
  EXPECT_EQ(texts(announcements(facts(), services, {{"x/web", "b", true}})), without);
  EXPECT_EQ(texts(announcements(facts(), services, {{"x/other", "a", true}})), without);
  EXPECT_EQ(texts(announcements(facts(), services, {{"x/web", "b", true}, {"x/web", "a", true}})),
            with);
}

TEST(Announce, NothingOutsideTheRangesWhateverAServiceClaims) {
  ServiceFacts greedy = balanced("203.0.113.1", true);
  greedy.externalIps = {address("198.18.9.7")};  // allowed for load balancers only
  greedy.clusterIps = {address("10.96.0.1")};
  EXPECT_EQ(texts(announcements(facts(), {greedy}, {{"x/web", "a", true}})),
            Texts{"198.18.9.0/24"});
}

TEST(Announce, ClusterIpsFollowEitherLocalPolicy) {
  AnnounceFacts cluster{.thisNode = "a", .clusterIpRanges = {prefix("10.96.0.0/12")}};
  ServiceFacts service{.key = "x/web", .clusterIps = {address("10.96.0.9")}};
  const std::vector<EndpointFacts> here{{"x/web", "a", true}};
  EXPECT_EQ(texts(announcements(cluster, {service}, here)), Texts{"10.96.0.0/12"});
  service.internalLocal = true;
  EXPECT_EQ(texts(announcements(cluster, {service}, here)),
            (Texts{"10.96.0.0/12", "10.96.0.9/32"}));
}

TEST(Announce, ASharedAddressStaysWhileOneServiceHasIt) {
  AnnounceFacts each = facts();
  each.aggregateLoadBalancer = false;
  ServiceFacts other = balanced("198.18.9.1", true);
  other.key = "x/other";
  EXPECT_EQ(texts(announcements(each, {balanced("198.18.9.1"), other}, {})),
            Texts{"198.18.9.1/32"});
  EXPECT_EQ(texts(announcements(each, {other}, {})), Texts{});
}

TEST(Announce, AnExcludedOrDrainingNodeAnnouncesNothing) {
  for (bool AnnounceFacts::*flag : {&AnnounceFacts::excluded, &AnnounceFacts::draining}) {
    AnnounceFacts off = facts();
    off.*flag = true;
    EXPECT_EQ(texts(announcements(off, {balanced("198.18.9.1", true)}, {{"x/web", "a", true}})),
              Texts{});
  }
}

}  // namespace
}  // namespace culvert::bgp
