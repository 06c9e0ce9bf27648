#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "daemons/frame/http_server.h"
#include "daemons/frame/role.h"
#include "daemons/services/health_answers.h"
#include "daemons/services/listeners.h"
#include "daemons/services/settings.h"

namespace culvert::services {

/// The two HTTP servers that kube-proxy has (healthzBindAddress and metricsBindAddress), for the
/// load balancers, dashboards and tools that ask it.
class OperatorServers {
 public:
  struct Sources {
    std::function<Progress()> progress;
    std::function<bool()> eligible;
    nlohmann::json config;  // for /configz
  };

  /// `listeners` must outlive this.
  OperatorServers(const frame::RoleContext& context, Listeners& listeners, Sources sources);

  void open(const Settings& settings);

 private:
  void routeHealth(const std::string& path, ProxyCheck check);
  void routeMetrics();
  void listen(const char* key, const std::optional<frame::ListenAddress>& address,
              const frame::Router& router);

  boost::asio::io_context& loop_;
  frame::Metrics& metrics_;
  Listeners& listeners_;
  Sources sources_;
  frame::Router healthRoutes_, metricsRoutes_;
};

}  // namespace culvert::services
