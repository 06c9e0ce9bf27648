#include "daemons/culvertctl/client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>

#include "base/fd.h"
#include "base/file.h"

namespace culvert::ctl {
namespace {

using nlohmann::json;

constexpr int kTimeoutSeconds = 30;
constexpr std::size_t kMaxAnswer = std::size_t{256} * 1024 * 1024;

Error unreachable(int error, const std::string& path) {
  if (error == ENOENT || error == ECONNREFUSED) {
    return makeError(Errc::kNotAvailable, "culvertd is not running: nobody listens at " + path,
                     "start it (systemctl start culvertd), or name its socket with --socket");
  }
  if (error == EACCES || error == EPERM) {
    return makeError(Errc::kNotAvailable, "not allowed to use " + path,
                     "be root, or a member of the group in control.group");
  }
  return fromErrno(error, "connect to " + path);
}

Result<UniqueFd> connectTo(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return makeError(Errc::kInvalidEnvironment, path + " is too long for a socket's path");
  }
  path.copy(address.sun_path, path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fromErrno(errno, "create a socket");
  const timeval limit{kTimeoutSeconds, 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);  // NOLINT: the sockets API
  if (::connect(fd.get(), generic, sizeof address) != 0) return unreachable(errno, path);
  return fd;
}

Error refused(const std::string& status, const json& body) {
  if (!body.is_object() || !body.contains("error")) {
    return makeError(Errc::kIo, "the daemon answered " + status);
  }
  const json& error = body["error"];
  const bool missing = error.value("code", "") == "noSuchPath";
  return makeError(missing ? Errc::kUnsupportedField : Errc::kIo,
                   missing ? "this daemon does not know that: its role is not switched on, or the "
                             "daemon is older than culvertctl"
                           : error.value("message", "the daemon answered " + status),
                   error.value("details", ""));
}

}  // namespace

Result<json> parseResponse(const std::string& response) {
  const std::size_t end = response.find("\r\n\r\n");
  if (!response.starts_with("HTTP/1.1 ") || end == std::string::npos) {
    return makeError(Errc::kDecode, "what answers at the socket is not culvertd");
  }
  const std::string status = response.substr(9, 3);
  const json body =
      json::parse(response.begin() + static_cast<long>(end) + 4, response.end(), nullptr, false);
  if (status[0] != '2') return refused(status, body);
  if (body.is_discarded()) return makeError(Errc::kDecode, "the daemon's answer is cut off");
  return body;
}

Result<json> request(const std::string& socketPath, const std::string& method,
                     const std::string& path, const json& body) {
  const UniqueFd fd = TRY(connectTo(socketPath));
  const std::string content = body.is_null() ? "" : body.dump();
  TRY(writeAll(fd.get(), method + " " + path +
                             " HTTP/1.1\r\nHost: culvertd\r\nConnection: close\r\n"
                             "Content-Type: application/json\r\nContent-Length: " +
                             std::to_string(content.size()) + "\r\n\r\n" + content)
          .context("ask culvertd"));
  auto answer = readAll(fd.get(), kMaxAnswer);
  if (!answer && answer.error().sysErrno == EAGAIN) {
    return makeError(Errc::kNotAvailable,
                     "culvertd did not answer within " + std::to_string(kTimeoutSeconds) + " s");
  }
  return parseResponse(TRY(std::move(answer).context("hear from culvertd")));
}

}  // namespace culvert::ctl
