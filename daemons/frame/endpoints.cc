#include "daemons/frame/endpoints.h"

#include <unistd.h>

namespace culvert::frame {
namespace {

void routeMetrics(Router& router, Metrics& metrics) {
  router.add("GET", "/metrics", [&metrics](const HttpRequest&, const Respond& respond) {
    respond({200, Metrics::kContentType, metrics.text()});
  });
}

void routeHealth(Router& router, const Health& health) {
  for (const std::string endpoint : {"healthz", "livez", "readyz"}) {
    router.add("GET", "/" + endpoint,
               [&health, endpoint](const HttpRequest& request, const Respond& respond) {
                 const auto report = health.report(endpoint, request.query.contains("verbose"));
                 respond({report.passed ? 200U : 500U, "text/plain; charset=utf-8", report.text});
               });
  }
}

HttpHandler handlerOf(const Router& router) {
  return [&router](const HttpRequest& request, Respond respond) {
    router.dispatch(request, std::move(respond));
  };
}

Result<ListeningSocket> adoptOrListen(const ListenAddress& address, Handover& handover) {
  if (UniqueFd fd = handover.find(socketName(address))) {
    return ListeningSocket{socketName(address), std::move(fd)};
  }
  return listenTcp(address);
}

}  // namespace

Result<std::unique_ptr<Endpoints>> Endpoints::open(boost::asio::io_context& loop,
                                                   const Settings& settings, const Served& served,
                                                   Handover& handover) {
  std::unique_ptr<Endpoints> endpoints(new Endpoints);
  for (Router* router : {&endpoints->metricsRoutes_, &endpoints->bothRoutes_})
    routeMetrics(*router, served.metrics);
  for (Router* router : {&endpoints->healthRoutes_, &endpoints->bothRoutes_})
    routeHealth(*router, served.health);
  TRY(endpoints->openControl(loop, settings, served.control, handover));
  TRY(endpoints->openTcp(loop, settings, handover));
  return endpoints;
}

Result<void> Endpoints::openTcp(boost::asio::io_context& loop, const Settings& settings,
                                Handover& handover) {
  const auto serve = [&](const ListenAddress& address,
                         const Router& router) -> Result<std::string> {
    ListeningSocket socket = TRY(adoptOrListen(address, handover));
    const ListenAddress at = TRY(localAddress(socket.fd.get()));
    servers_.push_back(
        {socket.name, std::make_unique<HttpServer>(loop, std::move(socket.fd), handlerOf(router))});
    return at.text();
  };
  if (settings.metrics && settings.metrics == settings.health) {
    addresses_["metrics"] = addresses_["health"] = TRY(serve(*settings.metrics, bothRoutes_));
    return {};
  }
  if (settings.metrics) {
    addresses_["metrics"] =
        TRY(serve(*settings.metrics, metricsRoutes_).context("metrics.address"));
  }
  if (settings.health) {
    addresses_["health"] = TRY(serve(*settings.health, healthRoutes_).context("health.address"));
  }
  return {};
}

Result<void> Endpoints::openControl(boost::asio::io_context& loop, const Settings& settings,
                                    const Control& control, Handover& handover) {
  const std::string& path = settings.controlSocket;
  lock_ = handover.find("lock:" + path);
  if (!lock_) lock_ = TRY(lockSocketPath(path));
  ListeningSocket socket{"unix:" + path, handover.find("unix:" + path)};
  if (!socket.fd) {
    int group = -1;
    if (!settings.controlGroup.empty()) {
      group = static_cast<int>(TRY(groupId(settings.controlGroup).context("control.group")));
    }
    socket = TRY(listenUnix(path, group));
  }
  controlPath_ = path;
  addresses_["control"] = path;
  servers_.push_back({socket.name, std::make_unique<HttpServer>(
                                       loop, std::move(socket.fd),
                                       [&control](const HttpRequest& request, Respond respond) {
                                         control.dispatch(request, std::move(respond));
                                       })});
  return {};
}

void Endpoints::drain(const std::function<void()>& drained) {
  const auto left = std::make_shared<std::size_t>(servers_.size());
  for (Server& server : servers_) {
    server.http->drain([left, drained] {
      if (--*left == 0) drained();
    });
  }
}

std::vector<ListeningSocket> Endpoints::release() {
  std::vector<ListeningSocket> sockets;
  for (Server& server : servers_)
    sockets.push_back({server.name, server.http->release()});
  sockets.push_back({"lock:" + controlPath_, std::move(lock_)});
  return sockets;
}

void Endpoints::removeControlSocket() {
  (void)::unlink(controlPath_.c_str());
}

}  // namespace culvert::frame
