#include "ipam/host_local/pod_addresses.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/file.h"
#include "cni/args.h"
#include "cni/config_reader.h"

namespace culvert::ipam {
namespace {

using nlohmann::json;

constexpr timeval kPatience{20, 0};  // the daemon answers within less
constexpr std::size_t kAnswerBytesMax = 1 << 20;

Result<UniqueFd> connectTo(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return makeError(Errc::kInvalidConfig, "ipam.podAddresses: " + path + " is too long");
  path.copy(address.sun_path, path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fromErrno(errno, "create a socket");
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);  // NOLINT: the sockets API
  if (::connect(fd.get(), generic, sizeof address) != 0)
    return fromErrno(errno, "connect to " + path);
  return fd;
}

/// HTTP/1.1, one request a connection.
Result<std::string> converse(const std::string& socket, const std::string& body) {
  const UniqueFd fd = TRY(connectTo(socket));
  TRY(writeAll(fd.get(),
               "POST /v1/pods/addresses HTTP/1.1\r\nHost: culvertd\r\nConnection: close\r\n"
               "Content-Type: application/json\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body));
  return readAll(fd.get(), kAnswerBytesMax);
}

Result<json> parseAnswer(const std::string& response) {
  const std::size_t end = response.find("\r\n\r\n");
  const bool http = response.starts_with("HTTP/1.1 ") && end != std::string::npos;
  const json body = http ? json::parse(response.substr(end + 4), nullptr, false) : json();
  if (!body.is_object()) return makeError(Errc::kTryAgain, "culvertd's answer is cut off");
  if (response[9] == '2') return body;
  const json error = body.value("error", json::object());
  const bool refused = response.compare(9, 3, "400") == 0;
  return makeError(refused ? Errc::kInvalidConfig : Errc::kTryAgain, error.value("message", "?"),
                   error.value("details", ""));
}

Result<json> ask(const std::string& socket, const json& pod) {
  auto response = converse(socket, pod.dump());
  if (!response && response.error().code != Errc::kInvalidConfig)
    response.error().code = Errc::kTryAgain;  // the daemon restarts, or has not started yet
  return parseAnswer(TRY(std::move(response).context("ask culvertd for the pod's addresses")));
}

}  // namespace

Result<cni::Request> withPodAddresses(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader ipam = cni::ConfigReader(*request.config, "", problems).object("ipam");
  const std::string socket = ipam.string("podAddresses");
  TRY(problems.take());
  if (socket.empty()) return request;
  const auto args = TRY(cni::parseArgs(request.args, {"IP", "K8S_POD_NAMESPACE", "K8S_POD_NAME"}));
  const auto ns = args.find("K8S_POD_NAMESPACE"), name = args.find("K8S_POD_NAME");
  if (ns == args.end() || name == args.end()) return request;
  const json answer = TRY(ask(socket, {{"namespace", ns->second}, {"name", name->second}}));
  json config = *request.config;
  config["ipam"]["ranges"] = answer.value("ranges", json::array());
  json& requested = config["args"]["cni"]["ips"];
  if (!requested.is_array()) requested = json::array();
  for (const json& address : answer.value("ips", json::array()))
    requested.push_back(address);
  cni::Request result = request;
  result.config = std::make_shared<const json>(std::move(config));
  return result;
}

}  // namespace culvert::ipam
