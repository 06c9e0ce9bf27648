#include "ipam/dhcp/daemon_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "ipam/dhcp/transport.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr Duration kSendTime{5000};

Error unavailable(const std::string& what) {
  return makeError(Errc::kNotAvailable, what);
}

Result<void> await(int fd, short events, Instant until) {
  for (;;) {
    const Duration left = until == kNever ? Duration(-1) : std::max(until - now(), Duration(0));
    pollfd wait{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(left.count()));
    if (ready > 0) return {};
    if (ready == 0) return unavailable("the DHCP daemon does not answer");
    if (errno != EINTR) return fromErrno(errno, "poll");
  }
}

Result<void> sendAll(int fd, std::string_view data, Instant until) {
  while (!data.empty()) {
    const ssize_t sent = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      data.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EINTR) {
      TRY(await(fd, POLLOUT, until));
    } else {
      return unavailable(std::string("the DHCP daemon hung up: ") + std::strerror(errno));
    }
  }
  return {};
}

}  // namespace

Result<DaemonClient> DaemonClient::connect(const std::string& socketPath) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fromErrno(errno, "open a unix socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socketPath.c_str(), sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const std::string why = std::strerror(errno);
    return makeError(Errc::kNotAvailable,
                     "the DHCP daemon does not run: connect to " + socketPath + ": " + why,
                     "start `dhcp daemon`, or enable cni-dhcp.socket");
  }
  return DaemonClient(std::move(fd));
}

Result<Leases> DaemonClient::ask(const DaemonRequest& request,
                                 std::optional<Duration> timeout) const {
  TRY(sendAll(fd_.get(), framed(renderRequest(request)), now() + kSendTime));
  const Instant until = timeout ? now() + *timeout : kNever;
  std::string received;
  for (;;) {
    TRY(await(fd_.get(), POLLIN, until));
    std::array<char, 16384> chunk{};
    const ssize_t got = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return unavailable("the DHCP daemon hung up before it answered");
    received.append(chunk.data(), static_cast<std::size_t>(got));
    const auto message = TRY(unframed(received, kMaxAnswerBytes));
    if (message) return parseAnswer(*message);
  }
}

}  // namespace culvert::ipam::dhcp
