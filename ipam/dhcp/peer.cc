#include "ipam/dhcp/peer.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "ipam/dhcp/transport.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr Duration kPatience{5000};  // for a request to arrive, and for an answer to be taken

}  // namespace

Peer::Peer(Loop& loop, UniqueFd fd, OnRequest onRequest, OnClosed onClosed)
    : loop_(loop),
      fd_(std::move(fd)),
      onRequest_(std::move(onRequest)),
      onClosed_(std::move(onClosed)) {}

Peer::~Peer() {
  loop_.cancel(this);
  if (fd_) loop_.unwatch(fd_.get());
}

Result<void> Peer::start() {
  loop_.schedule(this, now() + kPatience, [this] { close(); });
  return loop_.watch(fd_.get(), EPOLLIN, [this] { onReadable(); });
}

void Peer::onReadable() {
  const auto self = shared_from_this();
  std::array<char, 16384> chunk{};
  const ssize_t got = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0 || asked_) return close();  // gone, or not content with one request
  received_.append(chunk.data(), static_cast<std::size_t>(got));
  const auto message = unframed(received_, kMaxRequestBytes);
  if (!message) return answer(message.error());
  if (!*message) return;
  asked_ = true;
  loop_.cancel(this);
  const Result<DaemonRequest> request = parseRequest(**message);
  if (!request) return answer(request.error());
  received_.clear();
  onRequest_(self, *request);
}

void Peer::answer(const Result<Leases>& answer) {
  if (closed_) return;
  gone_ = nullptr;
  unsent_ = framed(renderAnswer(answer));
  loop_.schedule(this, now() + kPatience, [this] { close(); });
  onWritable();
}

void Peer::onWritable() {
  const auto self = shared_from_this();
  while (!unsent_.empty()) {
    const ssize_t sent =
        ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) {
      if (!loop_.watch(fd_.get(), EPOLLOUT, [this] { onWritable(); })) close();
      return;
    }
    if (sent < 0) break;
    unsent_.erase(0, static_cast<std::size_t>(sent));
  }
  close();
}

void Peer::close() {
  if (std::exchange(closed_, true)) return;
  const auto self = shared_from_this();
  loop_.cancel(this);
  loop_.unwatch(fd_.get());
  fd_ = UniqueFd();
  if (const auto gone = std::exchange(gone_, nullptr)) gone();
  onClosed_(this);
}

}  // namespace culvert::ipam::dhcp
