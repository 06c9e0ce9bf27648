#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "daemons/frame/http_server.h"

namespace culvert::frame {

struct ControlRequest {
  std::string method;
  std::string path;
  std::map<std::string, std::string> query;
  nlohmann::json body;  // null if there was none
  Peer peer;
};

/// What culvertctl speaks: HTTP/1.1 with JSON bodies on a Unix socket. An Error becomes
/// {"error": {"code": "notFound", "message": ..., "details": ...}} with the status that fits:
/// 400 kInvalidConfig and kDecode, 404 kNotFound, 409 kAlreadyExists and kConflict,
/// 503 kTryAgain and kNotAvailable, 500 otherwise.
class Control {
 public:
  using Handler = std::function<Result<nlohmann::json>(const ControlRequest&)>;
  using Done = std::function<void(Result<nlohmann::json>)>;
  using AsyncHandler = std::function<void(const ControlRequest&, Done)>;

  /// `allowedGroup`: whose members may ask, besides root and the daemon's own user.
  explicit Control(std::optional<unsigned> allowedGroup = std::nullopt);

  /// Paths are exact ("/v1/routes"); arguments come in the query or the body. Handlers are called
  /// on the loop.
  void handle(const std::string& method, const std::string& path, Handler handler);
  /// The answer comes later: `done` is called once, from the loop. The request lives until then.
  void handleAsync(const std::string& method, const std::string& path, AsyncHandler handler);

  /// For HttpServer.
  void dispatch(const HttpRequest& request, Respond respond) const;
  bool allows(const Peer& peer) const;

 private:
  Router router_;
  std::optional<unsigned> allowedGroup_;
};

}  // namespace culvert::frame
