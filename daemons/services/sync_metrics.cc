#include "daemons/services/sync_metrics.h"

#include <algorithm>

namespace culvert::services {
namespace {

using Labels = frame::Metrics::Labels;
using std::chrono::system_clock;

constexpr std::array kFamilies = {"IPv4", "IPv6"};

/// 1 ms to 16 s (kube-proxy's).
std::vector<double> syncBounds() {
  std::vector<double> bounds;
  for (double bound = 0.001; bounds.size() < 15; bound *= 2)
    bounds.push_back(bound);
  return bounds;
}

/// 0.25, 0.5, 1 to 59 by 1, 60 to 115 by 5, 120 to 300 by 30 (kube-proxy's).
std::vector<double> latencyBounds() {
  std::vector<double> bounds{0.25, 0.5};
  for (int bound = 1; bound <= 300; bound += bound < 60 ? 1 : bound < 120 ? 5 : 30)
    bounds.push_back(bound);
  return bounds;
}

std::array<prometheus::Gauge*, 2> gauges(frame::Metrics& metrics, const std::string& name,
                                         const std::string& help, const Labels& labels = {}) {
  std::array<prometheus::Gauge*, 2> both{};
  for (std::size_t i = 0; i < both.size(); ++i) {
    Labels all = labels;
    all["ip_family"] = kFamilies.at(i);
    both.at(i) = &metrics.gauge(name, help, all);
  }
  return both;
}

std::array<prometheus::Histogram*, 2> histograms(frame::Metrics& metrics, const std::string& name,
                                                 const std::string& help,
                                                 const std::vector<double>& bounds) {
  std::array<prometheus::Histogram*, 2> both{};
  for (std::size_t i = 0; i < both.size(); ++i)
    both.at(i) = &metrics.histogram(name, help, bounds, {{"ip_family", kFamilies.at(i)}});
  return both;
}

void setAll(const std::array<prometheus::Gauge*, 2>& both, system_clock::time_point time) {
  for (auto* gauge : both)
    gauge->Set(std::chrono::duration<double>(time.time_since_epoch()).count());
}

void observeAll(const std::array<prometheus::Histogram*, 2>& both, double value) {
  for (auto* histogram : both)
    histogram->Observe(value);
}

bool dropsAt(const PortPlan& port, bool clusterIp) {
  return std::any_of(port.frontends.begin(), port.frontends.end(), [&](const Frontend& frontend) {
    const Origin origin = clusterIp ? Origin::kPod : Origin::kOutside;
    return (frontend.kind == Frontend::Kind::kClusterIp) == clusterIp &&
           frontend.by.of(origin).target == Target::kDrop;
  });
}

}  // namespace

WithoutLocal countWithoutLocal(const Model& model) {
  WithoutLocal counts;
  for (const auto& [key, ports] : model.plans()) {
    for (const PortPlan& port : ports) {
      counts.internal.of(port.family) += dropsAt(port, true) ? 1 : 0;
      counts.external.of(port.family) += dropsAt(port, false) ? 1 : 0;
    }
  }
  return counts;
}

SyncMetrics::SyncMetrics(frame::Metrics& metrics)
    : duration_(histograms(metrics, "kubeproxy_sync_proxy_rules_duration_seconds",
                           "How long programming changes took.", syncBounds())),
      full_(histograms(metrics, "kubeproxy_sync_full_proxy_rules_duration_seconds",
                       "How long comparing and programming everything took.", syncBounds())),
      partial_(histograms(metrics, "kubeproxy_sync_partial_proxy_rules_duration_seconds",
                          "How long programming what had changed took.", syncBounds())),
      latency_(histograms(metrics, "kubeproxy_network_programming_duration_seconds",
                          "From a change of endpoints in the cluster until it was programmed here.",
                          latencyBounds())),
      programmedAt_(gauges(metrics, "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                           "When changes were last programmed.")),
      queuedAt_(gauges(metrics, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                       "When a change last began to wait.")),
      internal_(gauges(metrics, "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                       "Service ports of policy Local with endpoints, but none on this node.",
                       {{"traffic_policy", "internal"}})),
      external_(gauges(metrics, "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                       "Service ports of policy Local with endpoints, but none on this node.",
                       {{"traffic_policy", "external"}})),
      servicesPending_(metrics.gauge("kubeproxy_sync_proxy_rules_service_changes_pending",
                                     "Changes of Services not yet programmed.")),
      endpointsPending_(metrics.gauge("kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                                      "Changes of EndpointSlices not yet programmed.")),
      quarantined_(
          metrics.gauge("culvert_services_quarantined", "Services that the kernel refuses.")),
      localhostListeners_(metrics.gauge("kubeproxy_nftables_localhost_nodeport_listeners",
                                        "Node ports open at 127.0.0.1 and ::1.")),
      services_(metrics.counter("kubeproxy_sync_proxy_rules_service_changes_total",
                                "Changes of Services.")),
      endpoints_(metrics.counter("kubeproxy_sync_proxy_rules_endpoint_changes_total",
                                 "Changes of EndpointSlices.")),
      failures_(metrics.counter("kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
                                "Failures to program changes.")),
      added_(metrics.counter("culvert_services_elements_added_total",
                             "Elements added to sets and maps.")),
      removed_(metrics.counter("culvert_services_elements_removed_total",
                               "Elements removed from sets and maps.")),
      repairs_(metrics.counter("culvert_services_repairs_total",
                               "Times that somebody else had changed the table.")),
      flows_(metrics.counter("kubeproxy_conntrack_reconciler_deleted_entries_total",
                             "UDP flows forgotten because their endpoint was gone.")),
      localhostFailures_(
          metrics.counter("kubeproxy_nftables_localhost_nodeport_listener_creation_failures_total",
                          "Attempts to listen at 127.0.0.1 or ::1 that failed.")),
      localhostRefused_(
          metrics.counter("kubeproxy_nftables_localhost_nodeport_rejected_packets_total",
                          "Connections to node ports at localhost that were reset at once.",
                          {{"protocol", "tcp"}})),
      flowsDuration_(metrics.histogram("kubeproxy_conntrack_reconciler_sync_duration_seconds",
                                       "How long looking for such flows took.", syncBounds())) {}

void SyncMetrics::serviceChanged() {
  services_.Increment();
  servicesPending_.Increment();
}

void SyncMetrics::endpointsChanged(system_clock::time_point triggered) {
  endpoints_.Increment();
  endpointsPending_.Increment();
  if (triggered >= start_) triggers_.push_back(triggered);
}

void SyncMetrics::queued(system_clock::time_point at) {
  setAll(queuedAt_, at);
}

void SyncMetrics::programmed(Extent extent, std::chrono::duration<double> took, std::size_t added,
                             std::size_t removed) {
  observeAll(duration_, took.count());
  observeAll(extent == Extent::kFull ? full_ : partial_, took.count());
  const auto now = system_clock::now();
  setAll(programmedAt_, now);
  for (const auto& triggered : triggers_)
    observeAll(latency_, std::max(0.0, std::chrono::duration<double>(now - triggered).count()));
  triggers_.clear();
  servicesPending_.Set(0);
  endpointsPending_.Set(0);
  added_.Increment(static_cast<double>(added));
  removed_.Increment(static_cast<double>(removed));
}

void SyncMetrics::failed() {
  failures_.Increment();
}

void SyncMetrics::repaired() {
  repairs_.Increment();
}

void SyncMetrics::forgotFlows(std::chrono::duration<double> took, std::size_t count) {
  flowsDuration_.Observe(took.count());
  flows_.Increment(static_cast<double>(count));
}

void SyncMetrics::setWithoutLocal(const WithoutLocal& counts) {
  internal_[0]->Set(static_cast<double>(counts.internal.v4));
  internal_[1]->Set(static_cast<double>(counts.internal.v6));
  external_[0]->Set(static_cast<double>(counts.external.v4));
  external_[1]->Set(static_cast<double>(counts.external.v6));
}

void SyncMetrics::setQuarantined(std::size_t services) {
  quarantined_.Set(static_cast<double>(services));
}

void SyncMetrics::localhostListens(std::size_t ports) {
  localhostListeners_.Set(static_cast<double>(ports));
}

void SyncMetrics::localhostListenFailed() {
  localhostFailures_.Increment();
}

void SyncMetrics::localhostRefused() {
  localhostRefused_.Increment();
}

}  // namespace culvert::services
