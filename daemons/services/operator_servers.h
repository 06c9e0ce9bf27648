#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "daemons/frame/http_server.h"
#include "daemons/frame/role.h"
#include "daemons/services/health_answers.h"
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

  OperatorServers(const frame::RoleContext& context, Sources sources);

  /// Where it cannot listen, it complains, and the role works on.
  void open(const Settings& settings);
  void close() { servers_.clear(); }

  std::vector<frame::Complaint> complaints() const { return complaints_; }

 private:
  void routeHealth(const std::string& path, ProxyCheck check);
  void routeMetrics();
  void listen(const std::optional<frame::ListenAddress>& address, const frame::Router& router,
              const char* key);

  boost::asio::io_context& loop_;
  frame::Metrics& metrics_;
  Sources sources_;
  frame::Router healthRoutes_, metricsRoutes_;
  std::vector<std::unique_ptr<frame::HttpServer>> servers_;
  std::vector<frame::Complaint> complaints_;
};

}  // namespace culvert::services
