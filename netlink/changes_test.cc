#include "netlink/changes.h"

#include <linux/rtnetlink.h>

#include "netlink/test_nodes.h"

namespace culvert::netlink {
namespace {

using testnet::addr;
using testnet::prefix;

constexpr std::uint8_t kOurs = 0xC5;

class Changes : public testnet::TwoNodes {
 protected:
  NexthopSpec nexthop(std::uint32_t id) const {
    return {.id = id, .gateway = right_.underlay4, .link = left_.eth0, .protocol = kOurs};
  }
  static RouteSpec route(const std::string& dst, std::uint32_t id) {
    RouteSpec spec{.dst = prefix(dst), .protocol = kOurs};
    spec.nexthopId = id;
    return spec;
  }
  static RouteSpec numbered(std::uint32_t i, std::uint32_t id) {
    return route("10." + std::to_string(100 + i / 256) + "." + std::to_string(i % 256) + ".0/24",
                 id);
  }
  std::vector<ChangeFailure> apply(const std::vector<Change>& changes) const {
    auto failures = applyChanges(*left_.rtnl, changes);
    EXPECT_TRUE(failures) << failures.error().message;
    return failures ? *std::move(failures) : std::vector<ChangeFailure>();
  }
};

TEST_F(Changes, TenThousandRoutesByNexthopArriveAndGo) {
  constexpr std::uint32_t kCount = 10000;
  std::vector<Change> changes;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    changes.push_back({.object = numbered(i, i + 1)});
    changes.push_back({.object = nexthop(i + 1)});
  }
  sortForApplying(changes);
  const auto failures = apply(changes);
  ASSERT_TRUE(failures.empty()) << failures.front().error.message;
  const auto routes = left_.rtnl->listRoutes({.protocol = kOurs});
  ASSERT_TRUE(routes) << routes.error().message;
  EXPECT_EQ(routes->size(), kCount);
  EXPECT_EQ(Nexthops(*left_.rtnl).list(kOurs)->size(), kCount);
  for (Change& change : changes)
    change.how = Change::How::kRemove;
  sortForApplying(changes);
  EXPECT_TRUE(apply(changes).empty());
  EXPECT_TRUE(left_.rtnl->listRoutes({.protocol = kOurs})->empty());
  EXPECT_TRUE(Nexthops(*left_.rtnl).list(kOurs)->empty());
}

TEST_F(Changes, WhenAllOfThousandsFailEachIsReportedWithItsPlaceAndTheKernelsWords) {
  constexpr std::uint32_t kCount = 5000;
  std::vector<Change> changes;
  for (std::uint32_t i = 0; i < kCount; ++i)
    changes.push_back({.object = numbered(i, 4711)});
  const auto failures = apply(changes);
  ASSERT_EQ(failures.size(), kCount);
  for (std::uint32_t i = 0; i < kCount; ++i)
    ASSERT_EQ(failures[i].index, i);
  EXPECT_EQ(failures[1].error.details, "Nexthop id does not exist");
  EXPECT_EQ(failures[1].error.message.find("replace route 10.100.1.0/24 nhid 4711: netlink: "), 0U)
      << failures[1].error.message;
}

TEST_F(Changes, AFailureDoesNotStopTheLaterOnes) {
  const auto failures = apply({{.object = nexthop(1)},
                               {.object = route("10.3.0.0/16", 99)},
                               {.object = route("10.4.0.0/16", 1)},
                               {Change::How::kCreate, route("10.4.0.0/16", 1)},
                               {Change::How::kRemove, route("10.77.0.0/16", 1)}});
  ASSERT_EQ(failures.size(), 2U);
  EXPECT_EQ(failures[0].index, 1U);
  EXPECT_EQ(failures[1].index, 3U);
  EXPECT_EQ(failures[1].error.code, Errc::kAlreadyExists);
  EXPECT_EQ(left_.rtnl->listRoutes({.protocol = kOurs})->size(), 1U);
}

TEST_F(Changes, AfterAnOverrunOfAnswersTheSocketGoesOn) {
  Socket& socket = left_.rtnl->socket();
  socket.growReceiveBuffer(4096);  // in fact smaller
  Batch batch;
  for (int i = 0; i < 500; ++i) {
    rtmsg header{};
    header.rtm_family = AF_INET;
    batch.begin(RTM_DELROUTE, 0, header);  // there is no default route
  }
  const auto failures = socket.transactQuietly(batch);
  ASSERT_FALSE(failures);
  EXPECT_EQ(failures.error().code, Errc::kTryAgain);
  EXPECT_TRUE(left_.rtnl->findLink("eth0")) << "and is not left waiting for a lost answer";
}

TEST_F(Changes, NothingToDoIsNoSystemCallAndNoFailure) {
  EXPECT_TRUE(apply({}).empty());
}

TEST_F(Changes, NexthopsOfEveryShapeAreReadBackAsWritten) {
  Nexthops nexthops(*left_.rtnl);
  const NexthopSpec onLink{
      .id = 2, .gateway = addr("192.0.2.1"), .link = left_.eth0, .onLink = true, .protocol = kOurs};
  const NexthopSpec device{.id = 3, .family = Family::kV6, .link = left_.eth0};
  const NexthopSpec six{.id = 4,
                        .family = Family::kV6,
                        .gateway = right_.underlay6,
                        .link = left_.eth0,
                        .protocol = kOurs};
  const NexthopSpec hole{.id = 5, .blackhole = true, .protocol = kOurs};
  const NexthopSpec group{
      .id = 6, .group = {{.id = 1}, {.id = 2, .weight = 200}}, .protocol = kOurs};
  for (const NexthopSpec& one : {nexthop(1), onLink, device, six, hole, group}) {
    const auto made = nexthops.create(one);
    ASSERT_TRUE(made) << made.error().message;
    const auto found = nexthops.find(one.id);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(*found == one) << describe(*found);
  }
  EXPECT_EQ(nexthops.list(kOurs)->size(), 5U);
  EXPECT_EQ(nexthops.list()->size(), 6U);
  EXPECT_EQ(nexthops.create(hole).error().code, Errc::kAlreadyExists);
  ASSERT_TRUE(nexthops.remove(5));
  EXPECT_EQ(nexthops.remove(5).error().code, Errc::kNotFound);
  EXPECT_EQ(nexthops.find(5).error().code, Errc::kNotFound);
}

TEST_F(Changes, ARouteByAGroupIsOneRoute) {
  ASSERT_TRUE(apply({{.object = nexthop(1)},
                     {.object = nexthop(2)},
                     {.object = NexthopSpec{.id = 3, .group = {{.id = 1}, {.id = 2}}}},
                     {.object = route("10.3.0.0/16", 3)}})
                  .empty());
  const auto routes = left_.rtnl->listRoutes({.protocol = kOurs});
  ASSERT_EQ(routes->size(), 1U);
  EXPECT_TRUE(isRoute(route("10.3.0.0/16", 3), routes->front()));
}

TEST_F(Changes, RoutesAreListedByTableAndByWhoMadeThem) {
  ASSERT_TRUE(Nexthops(*left_.rtnl).create(nexthop(1)));
  for (const std::uint8_t protocol : {kOurs, std::uint8_t{RTPROT_STATIC}}) {
    RouteSpec one = route("10.3." + std::to_string(protocol) + ".0/24", 1);
    one.protocol = protocol;
    ASSERT_TRUE(left_.rtnl->addRoute(one));
    one.table = 1234;
    ASSERT_TRUE(left_.rtnl->addRoute(one));
  }
  EXPECT_EQ(left_.rtnl->listRoutes({.protocol = kOurs})->size(), 2U);
  EXPECT_EQ(left_.rtnl->listRoutes({.table = 1234})->size(), 2U);
  EXPECT_EQ(left_.rtnl->listRoutes({.table = 1234, .protocol = kOurs})->size(), 1U);
}

}  // namespace
}  // namespace culvert::netlink
