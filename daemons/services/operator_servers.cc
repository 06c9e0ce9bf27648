#include "daemons/services/operator_servers.h"

#include "daemons/frame/listen.h"

namespace culvert::services {

using frame::HttpRequest;
using frame::Respond;

OperatorServers::OperatorServers(const frame::RoleContext& context, Sources sources)
    : loop_(context.loop), metrics_(context.metrics), sources_(std::move(sources)) {
  routeHealth("healthz", ProxyCheck::kHealthz);
  routeHealth("livez", ProxyCheck::kLivez);
  routeMetrics();
}

void OperatorServers::routeHealth(const std::string& path, ProxyCheck check) {
  healthRoutes_.add("GET", "/" + path, [=, this](const HttpRequest&, const Respond& respond) {
    auto response = answerProxyHealth(check, sources_.progress(), sources_.eligible(),
                                      std::chrono::system_clock::now());
    metrics_
        .counter("kubeproxy_proxy_" + path + "_total", "Answers of /" + path + " by HTTP status.",
                 {{"code", std::to_string(response.status)}})
        .Increment();
    respond(std::move(response));
  });
}

void OperatorServers::routeMetrics() {
  const auto text = [this](const char* path, const char* body) {
    metricsRoutes_.add("GET", path, [body](const HttpRequest&, const Respond& respond) {
      frame::HttpResponse response;
      response.body = body;
      respond(std::move(response));
    });
  };
  text("/healthz", "ok");
  text("/proxyMode", "nftables");
  metricsRoutes_.add("GET", "/metrics", [this](const HttpRequest&, const Respond& respond) {
    respond({200, frame::Metrics::kContentType, metrics_.text(), {}});
  });
  metricsRoutes_.add("GET", "/configz", [this](const HttpRequest&, const Respond& respond) {
    respond({200, "application/json", sources_.config.dump(), {}});
  });
}

void OperatorServers::open(const Settings& settings) {
  listen(settings.healthz, healthRoutes_, "services.healthz.address");
  listen(settings.metrics, metricsRoutes_, "services.metrics.address");
}

void OperatorServers::listen(const std::optional<frame::ListenAddress>& address,
                             const frame::Router& router, const char* key) {
  if (!address) return;
  auto socket = frame::listenTcp(*address);
  if (!socket) {
    complaints_.push_back({socket.error().message, std::string("set ") + key});
    return;
  }
  servers_.push_back(std::make_unique<frame::HttpServer>(
      loop_, std::move(socket->fd), [&router](const HttpRequest& request, Respond respond) {
        router.dispatch(request, std::move(respond));
      }));
}

}  // namespace culvert::services
