#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "daemons/frame/control.h"
#include "daemons/frame/handover.h"
#include "daemons/frame/health.h"
#include "daemons/frame/http_server.h"
#include "daemons/frame/metrics.h"
#include "daemons/frame/settings.h"

namespace culvert::frame {

/// What the endpoints show. All of it must outlive them.
struct Served {
  Metrics& metrics;
  const Health& health;
  const Control& control;
};

/// Everything the daemon listens on: /metrics, health, the control socket.
class Endpoints {
 public:
  /// Listens, with sockets that `handover` brings where their addresses are the same.
  /// kAlreadyExists: another daemon runs.
  static Result<std::unique_ptr<Endpoints>> open(boost::asio::io_context& loop,
                                                 const Settings& settings, const Served& served,
                                                 Handover& handover);

  /// {"metrics": "127.0.0.1:9810", "health": ..., "control": "/run/..."}, with real ports.
  const nlohmann::json& addresses() const { return addresses_; }

  /// Takes no more connections and calls `drained` when all requests have their responses.
  void drain(const std::function<void()>& drained);
  /// The listening sockets and the lock, for the next life.
  std::vector<ListeningSocket> release();
  /// For a daemon that stops for good: nobody shall find the socket any more.
  void removeControlSocket();

 private:
  struct Server {
    std::string name;
    std::unique_ptr<HttpServer> http;
  };
  Endpoints() = default;
  Result<void> openTcp(boost::asio::io_context& loop, const Settings& settings, Handover& handover);
  Result<void> openControl(boost::asio::io_context& loop, const Settings& settings,
                           const Control& control, Handover& handover);

  Router metricsRoutes_;
  Router healthRoutes_;
  Router bothRoutes_;
  std::string controlPath_;
  UniqueFd lock_;
  std::vector<Server> servers_;
  nlohmann::json addresses_ = nlohmann::json::object();
};

}  // namespace culvert::frame
