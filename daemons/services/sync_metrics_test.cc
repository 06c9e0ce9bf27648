#include "daemons/services/sync_metrics.h"

#include <gtest/gtest.h>

#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using std::chrono::system_clock;

TEST(SyncMetrics, CountPortsWhosePolicyFindsNobodyHere) {
  Model model;
  model.setNode({"n1", "", {}});
  const auto local = test::service("local", R"({'clusterIPs':['10.96.0.1'],'ports':[{'port':80}],
                                              'internalTrafficPolicy':'Local'})");
  const auto remote = test::slice("local", {"10.1.0.1 n2"});
  model.set(local.key(), &local);
  model.set(Key{"ns", "slice"}, &remote);
  (void)model.refresh();
  EXPECT_EQ(countWithoutLocal(model), (WithoutLocal{{1, 0}, {0, 0}}));
}

TEST(SyncMetrics, TakeTheTimeOfAChangeOnceItIsProgrammedAndNotFromBeforeTheStart) {
  frame::Metrics metrics("test");
  SyncMetrics sync(metrics);
  sync.endpointsChanged(system_clock::time_point());
  sync.endpointsChanged(system_clock::now());
  const std::string count = "kubeproxy_network_programming_duration_seconds_count";
  EXPECT_NE(metrics.text().find(count + "{ip_family=\"IPv4\"} 0"), std::string::npos);
  EXPECT_NE(metrics.text().find("endpoint_changes_pending 2"), std::string::npos);
  sync.programmed(SyncMetrics::Extent::kPartial, std::chrono::milliseconds(3), 5, 2);
  const std::string text = metrics.text();
  EXPECT_NE(text.find(count + "{ip_family=\"IPv4\"} 1"), std::string::npos);
  EXPECT_NE(text.find("endpoint_changes_pending 0"), std::string::npos);
  EXPECT_NE(text.find("culvert_services_elements_added_total 5"), std::string::npos);
  EXPECT_NE(text.find("culvert_services_elements_removed_total 2"), std::string::npos);
}

}  // namespace
}  // namespace culvert::services
