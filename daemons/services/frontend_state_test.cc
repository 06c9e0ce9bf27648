#include "daemons/services/frontend_state.h"

#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using test::ip;

std::vector<End> ends(std::initializer_list<int> hosts) {
  std::vector<End> all;
  for (const int host : hosts)
    all.push_back({ip("10.1.0." + std::to_string(host)), 80});
  return all;
}

TEST(FrontendState, EndpointsKeepTheirIndexes) {
  EXPECT_EQ(keepOrder({}, ends({1, 2, 3})), ends({1, 2, 3}));
  EXPECT_EQ(keepOrder(ends({3, 1, 2}), ends({1, 2, 3})), ends({3, 1, 2}));
  EXPECT_EQ(keepOrder(ends({1, 2, 3}), ends({1, 3})), ends({1, 3}))
      << "the last one fills the hole";
  EXPECT_EQ(keepOrder(ends({4, 3, 2}), ends({3, 2})), ends({2, 3}));
  EXPECT_EQ(keepOrder(ends({1, 2}), ends({1, 2, 9})), ends({1, 2, 9}));
  EXPECT_EQ(keepOrder(ends({1, 2, 3}), ends({1, 9, 3})), ends({1, 9, 3}));
  EXPECT_EQ(keepOrder(ends({1, 2}), {}), ends({}));
}

TEST(FrontendState, AnEndpointMoreIsFewElements) {
  FrontendState before, now;
  before.all.ends = ends({1, 2, 3});
  now.all.ends = ends({1, 2, 3, 4});
  ElementBatch removals, additions;
  addChanges({ip("10.96.0.1"), 80, Protocol::kTcp}, &before, &now, removals, additions);
  EXPECT_EQ(std::move(removals).removals().toText(),
            "delete element inet culvert_services count_bit_0_ipv4 { 10.96.0.1 . tcp . 80 }\n"
            "delete element inet culvert_services count_bit_1_ipv4 { 10.96.0.1 . tcp . 80 }\n");
  EXPECT_EQ(std::move(additions).additions().toText(),
            "add element inet culvert_services count_bit_2_ipv4 { 10.96.0.1 . tcp . 80 }\n"
            "add element inet culvert_services endpoints_ipv4 "
            "{ 10.96.0.1 . tcp . 80 . 0x00000003 : 10.1.0.4 . 80 }\n");
}

TEST(FrontendState, NothingChangedIsNothingToDo) {
  FrontendState state;
  state.all.ends = {{ip("fd01::1"), 80}};
  state.outside = FrontendState::View{{}, false, true};
  ElementBatch removals, additions;
  addChanges({ip("::"), 30080, Protocol::kUdp}, &state, &state, removals, additions);
  EXPECT_TRUE(removals.empty() && additions.empty());
  addChanges({ip("::"), 30080, Protocol::kUdp}, nullptr, &state, removals, additions);
  EXPECT_EQ(std::move(additions).additions().toText(),
            "add element inet culvert_services count_bit_0_node_ipv6 { udp . 30080 }\n"
            "add element inet culvert_services endpoints_node_ipv6 "
            "{ udp . 30080 . 0x00000000 : fd01::1 . 80 }\n"
            "add element inet culvert_services frontends_node_ipv6 { udp . 30080 }\n"
            "add element inet culvert_services outside_dropped_node_ipv6 { udp . 30080 }\n"
            "add element inet culvert_services outside_frontends_node_ipv6 { udp . 30080 }\n");
}

}  // namespace
}  // namespace culvert::services
