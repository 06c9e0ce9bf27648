#pragma once

#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "daemons/services/health_check_ports.h"
#include "daemons/services/listeners.h"
#include "daemons/services/localhost_ports.h"
#include "daemons/services/operator_servers.h"
#include "daemons/services/sync_metrics.h"

namespace culvert::services {

/// All that the role listens at: for operators, for load balancers, and node ports at localhost.
/// Forwarding depends on none of it.
class Servers {
 public:
  /// What it looks at.
  struct View {
    const Model& model;
    std::function<Progress()> progress;
    std::function<const objects::Node*()> node;  // null: the source does not have it
  };

  /// All of it must outlive this.
  Servers(const frame::RoleContext& context, const Settings& settings, const std::string& nodeName,
          View view, SyncMetrics& metrics);

  void open() { operators_.open(settings_); }
  void close();

  /// Null: it is gone. Takes effect with programmed().
  void serviceChanged(const Key& key, const objects::Service* now);
  /// These frontends have changed; `nodePorts`: where node ports are open, among the `host`'s own.
  void programmed(const std::set<At>& frontends, const std::set<IpAddress>& host,
                  const std::set<IpAddress>& nodePorts);

  std::vector<frame::Complaint> complaints() const { return listeners_.complaints(); }

 private:
  OperatorServers::Sources sourcesFor(const std::string& nodeName) const;
  frame::HttpResponse answerHealthCheck(const Key& service) const;
  std::set<IpAddress> healthCheckAddresses(const std::set<IpAddress>& host,
                                           const std::set<IpAddress>& nodePorts) const;

  const Settings& settings_;
  View view_;
  Listeners listeners_;
  OperatorServers operators_;
  HealthCheckPorts healthChecks_;
  std::optional<LocalhostPorts> localhost_;
};

}  // namespace culvert::services
