#include "plugins/multi/api_server.h"

#include "cni/config_reader.h"
#include "cni/json.h"

namespace culvert::plugins::multi {
namespace {

using nlohmann::json;

constexpr unsigned kOk = 200, kUnauthorized = 401, kForbidden = 403, kNotFound = 404,
                   kConflict = 409, kTooManyRequests = 429, kServerErrors = 500;

/// The "message" of the Status object that comes with every refusal.
std::string messageOf(const HttpResponse& response) {
  constexpr std::size_t kShown = 300;
  const json status = json::parse(response.body, nullptr, false);
  if (!status.is_object()) return "";
  const auto message = status.find("message");
  if (message == status.end() || !message->is_string()) return "";
  return ": " + message->get<std::string>().substr(0, kShown);
}

Error refusal(const HttpResponse& response) {
  const std::string what = std::to_string(response.status) + messageOf(response);
  if (response.status == kUnauthorized)
    return makeError(Errc::kInvalidConfig, what, "the kubeconfig's credentials are not accepted");
  if (response.status == kForbidden) {
    return makeError(Errc::kInvalidConfig, what,
                     "the kubeconfig's user needs get on pods and network-attachment-definitions "
                     "and patch on pods/status");
  }
  const bool passing = response.status == kTooManyRequests || response.status == kConflict ||
                       response.status >= kServerErrors;
  return makeError(passing ? Errc::kTryAgain : Errc::kIo, what);
}

std::string podPath(const std::string& ns, const std::string& name) {
  return "/api/v1/namespaces/" + ns + "/pods/" + name;
}

}  // namespace

Result<HttpResponse> ApiServer::call(HttpRequest request) {
  const std::string doing =
      "API server " + config_.server.host + ": " + request.method + " " + request.path;
  if (!client_) {
    client_.emplace(TRY(
        HttpsClient::connect({.host = config_.server.host,
                              .port = config_.server.port,
                              .serverName = config_.tlsServerName.empty() ? config_.server.host
                                                                          : config_.tlsServerName,
                              .authority = config_.authority.text,
                              .certificate = config_.certificate.text,
                              .key = config_.key.text,
                              .timeout = timeout_})
            .context(doing)));
  }
  request.path = config_.server.prefix + request.path;
  request.token = config_.token.text;
  HttpResponse response = TRY(client_->exchange(request).context(doing));
  if (response.status == kOk || response.status == kNotFound) return response;
  return refusal(response).wrap(doing);
}

Result<std::optional<json>> ApiServer::get(const std::string& path) {
  const HttpResponse response = TRY(call({.method = "GET", .path = path}));
  if (response.status == kNotFound) return std::nullopt;
  return TRY(cni::parseJson(response.body).context("API server: GET " + path));
}

Result<std::optional<Pod>> ApiServer::findPod(const std::string& ns, const std::string& name) {
  const auto object = TRY(get(podPath(ns, name)));
  if (!object) return std::nullopt;
  return TRY(parsePod(*object, "pod " + ns + "/" + name));
}

Result<std::optional<Definition>> ApiServer::findDefinition(const std::string& ns,
                                                            const std::string& name) {
  const auto object = TRY(
      get("/apis/k8s.cni.cncf.io/v1/namespaces/" + ns + "/network-attachment-definitions/" + name));
  if (!object) return std::nullopt;
  return TRY(parseDefinition(*object, "NetworkAttachmentDefinition " + ns + "/" + name));
}

Result<void> ApiServer::writeStatus(const Pod& pod, const std::string& status) {
  json metadata = {{"annotations", {{"k8s.v1.cni.cncf.io/network-status", status}}}};
  if (!pod.uid.empty()) metadata["uid"] = pod.uid;
  const json patch = {{"metadata", std::move(metadata)}};
  const HttpResponse response =
      TRY(call({.method = "PATCH",
                .path = podPath(pod.ns, pod.name) + "/status",
                .contentType = "application/merge-patch+json",
                .body = patch.dump(-1, ' ', false, json::error_handler_t::replace)}));
  if (response.status == kOk) return {};
  return makeError(Errc::kNotFound, "pod " + pod.ns + "/" + pod.name + " is gone");
}

}  // namespace culvert::plugins::multi
