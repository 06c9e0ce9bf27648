#include "daemons/frame/control.h"

#include <unistd.h>

#include <algorithm>

namespace culvert::frame {
namespace {

using nlohmann::json;

constexpr const char* kJson = "application/json";

struct ErrorKind {
  unsigned status;
  const char* code;
};

ErrorKind kindOf(Errc code) {
  switch (code) {
    case Errc::kInvalidConfig:
    case Errc::kDecode:
      return {400, "invalid"};
    case Errc::kNotFound:
      return {404, "notFound"};
    case Errc::kAlreadyExists:
      return {409, "alreadyExists"};
    case Errc::kConflict:
      return {409, "conflict"};
    case Errc::kTryAgain:
    case Errc::kNotAvailable:
      return {503, "notAvailable"};
    default:
      return {500, "failed"};
  }
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

HttpResponse errorResponse(ErrorKind kind, const Error& error) {
  json body = {{"code", kind.code}, {"message", error.message}};
  if (!error.details.empty()) body["details"] = error.details;
  return {kind.status, kJson, dumped({{"error", std::move(body)}})};
}

HttpResponse responseFor(const Result<json>& result) {
  if (result) return {200, kJson, dumped(*result)};
  return errorResponse(kindOf(result.error().code), result.error());
}

Result<ControlRequest> controlRequest(const HttpRequest& request) {
  ControlRequest result{request.method, request.path, request.query, nullptr, *request.peer};
  if (request.body.empty()) return result;
  result.body = json::parse(request.body, nullptr, false);
  if (result.body.is_discarded()) return makeError(Errc::kDecode, "the body is not JSON");
  return result;
}

}  // namespace

Control::Control(std::optional<unsigned> allowedGroup) : allowedGroup_(allowedGroup) {}

void Control::handle(const std::string& method, const std::string& path, Handler handler) {
  handleAsync(method, path,
              [handler = std::move(handler)](const ControlRequest& request, const Done& done) {
                done(handler(request));
              });
}

void Control::handleAsync(const std::string& method, const std::string& path,
                          AsyncHandler handler) {
  router_.add(method, path,
              [handler = std::move(handler)](const HttpRequest& request, Respond respond) {
                auto parsed = controlRequest(request);
                if (!parsed) return respond(responseFor(std::move(parsed).error()));
                const auto kept = std::make_shared<ControlRequest>(*std::move(parsed));
                handler(*kept, [kept, respond = std::move(respond)](const Result<json>& result) {
                  respond(responseFor(result));
                });
              });
}

void Control::dispatch(const HttpRequest& request, Respond respond) const {
  if (!request.peer || !allows(*request.peer)) {
    return respond(errorResponse(
        {403, "forbidden"},
        makeError(Errc::kIo, "only root and members of control.group may use this socket")));
  }
  router_.dispatch(request, [respond = std::move(respond)](HttpResponse response) {
    if (response.contentType == kJson) return respond(std::move(response));
    response.body.erase(response.body.find_last_not_of('\n') + 1);
    respond(errorResponse({response.status, response.status == 404 ? "noSuchPath" : "noSuchMethod"},
                          makeError(Errc::kNotFound, response.body)));
  });
}

bool Control::allows(const Peer& peer) const {
  if (peer.uid == 0 || peer.uid == ::geteuid()) return true;
  return allowedGroup_ &&
         std::find(peer.groups.begin(), peer.groups.end(), *allowedGroup_) != peer.groups.end();
}

}  // namespace culvert::frame
