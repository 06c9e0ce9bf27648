#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <vector>

#include "daemons/frame/metrics.h"
#include "daemons/services/model.h"

namespace culvert::services {

/// Ports of Services with policy Local that have endpoints, but none here.
struct WithoutLocal {
  PerFamily<std::size_t> internal, external;
  bool operator==(const WithoutLocal&) const = default;
};
WithoutLocal countWithoutLocal(const Model& model);

/// kube-proxy's metrics where ours mean the same, so that dashboards work, and a few of our own.
/// Both families are programmed at once, so `ip_family` is only a name for the same figure.
class SyncMetrics {
 public:
  explicit SyncMetrics(frame::Metrics& metrics);

  void serviceChanged();
  /// `triggered`: when its cause came about (endpoints.kubernetes.io/last-change-trigger-time).
  void endpointsChanged(std::chrono::system_clock::time_point triggered);
  void queued(std::chrono::system_clock::time_point at);

  enum class Extent { kFull, kPartial };
  void programmed(Extent extent, std::chrono::duration<double> took, std::size_t added,
                  std::size_t removed);
  void failed();
  void repaired();  // what others had changed in our table
  void forgotFlows(std::chrono::duration<double> took, std::size_t count);
  void setWithoutLocal(const WithoutLocal& counts);
  void setQuarantined(std::size_t services);
  // Of node ports at localhost (KEP-6032)
  void localhostListens(std::size_t ports);
  void localhostListenFailed();
  void localhostRefused();  // a connection was reset at once

 private:
  template <class Metric>
  using Both = std::array<Metric*, 2>;  // IPv4, IPv6

  const std::chrono::system_clock::time_point start_ = std::chrono::system_clock::now();
  std::vector<std::chrono::system_clock::time_point> triggers_;  // not yet programmed
  Both<prometheus::Histogram> duration_, full_, partial_, latency_;
  Both<prometheus::Gauge> programmedAt_, queuedAt_, internal_, external_;
  prometheus::Gauge &servicesPending_, &endpointsPending_, &quarantined_, &localhostListeners_;
  prometheus::Counter &services_, &endpoints_, &failures_, &added_, &removed_, &repairs_, &flows_,
      &localhostFailures_, &localhostRefused_;
  prometheus::Histogram& flowsDuration_;
};

}  // namespace culvert::services
