#include "daemons/services/operator_servers.h"

namespace culvert::services {

using frame::HttpRequest;
using frame::Respond;

OperatorServers::OperatorServers(const frame::RoleContext& context, Listeners& listeners,
                                 Sources sources)
    : loop_(context.loop),
      metrics_(context.metrics),
      listeners_(listeners),
      sources_(std::move(sources)) {
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
  listen("services.healthz.address", settings.healthz, healthRoutes_);
  listen("services.metrics.address", settings.metrics, metricsRoutes_);
}

void OperatorServers::listen(const char* key, const std::optional<frame::ListenAddress>& address,
                             const frame::Router& router) {
  if (!address) return;
  const auto answer = [&router](const HttpRequest& request, Respond respond) {
    router.dispatch(request, std::move(respond));
  };
  const auto serve = [this, answer](UniqueFd socket) {
    return std::make_shared<frame::HttpServer>(loop_, std::move(socket), answer);
  };
  listeners_.want(key, *address, serve, frame::Families::kSystemDefault);
}

}  // namespace culvert::services
