#include <sys/socket.h>

#include <cerrno>

#include "netlink/frame.h"
#include "netlink/socket.h"

// What the daemon's sockets do besides those of the plugins: many changes with few answers, large
// buffers, reading without blocking.
namespace culvert::netlink {
namespace {

/// Larger than the notifications of any link, however many virtual functions it has.
constexpr std::size_t kNotificationBytesMax = std::size_t{128} * 1024;

bool setBuffer(int fd, int option, std::size_t bytes) {
  const int value = static_cast<int>(bytes / 2);  // socket(7): the kernel doubles it
  return ::setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) == 0;
}

}  // namespace

Result<std::vector<Socket::Failure>> Socket::transactQuietly(Batch& batch) {
  std::vector<Failure> failures;
  if (batch.count() == 0) return failures;
  batch.acknowledgeLastOnly();
  const std::uint32_t first = nextSequence_;
  nextSequence_ += static_cast<std::uint32_t>(batch.count());
  const std::vector<char>& bytes = batch.finish(first);
  TRY(sendRaw({bytes.data(), bytes.size()}));
  for (bool open = true; open;) {
    const auto datagram = receiveDatagram();
    if (!datagram) {
      // After an overrun the kernel answers nothing until everything that waits has been read.
      for (auto waiting = receiveWaiting(); waiting && *waiting; waiting = receiveWaiting()) {
      }
      return datagram.error();
    }
    std::string_view rest = *datagram;
    for (Frame frame; nextFrame(rest, frame);) {
      const std::size_t index = frame.header.nlmsg_seq - first;
      if (index >= batch.count() || frame.header.nlmsg_type != NLMSG_ERROR) continue;
      auto status = parseAck(frame.payload, frame.header.nlmsg_flags);
      if (!status) failures.push_back({index, std::move(status).error()});
      if (index + 1 == batch.count()) open = false;
    }
  }
  return failures;
}

std::size_t Socket::growReceiveBuffer(std::size_t bytes) {
  if (!setBuffer(fd_.get(), SO_RCVBUFFORCE, bytes)) setBuffer(fd_.get(), SO_RCVBUF, bytes);
  return receiveBufferBytes();
}

std::size_t Socket::receiveBufferBytes() const {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &value, &size) != 0 || value < 0) return 0;
  return static_cast<std::size_t>(value);
}

Result<std::string_view> Socket::receiveNow(bool& fromKernel) {
  room_.resize(kNotificationBytesMax);
  sockaddr_nl sender{};
  socklen_t senderSize = sizeof sender;
  ssize_t size = 0;
  do {
    size = ::recvfrom(fd_.get(), room_.data(), room_.size(), MSG_DONTWAIT | MSG_TRUNC,
                      reinterpret_cast<sockaddr*>(&sender), &senderSize);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return fromErrno(errno, "netlink receive");
  fromKernel = sender.nl_pid == 0;
  if (static_cast<std::size_t>(size) > room_.size())
    return fromErrno(ENOBUFS, "netlink receive: " + std::to_string(size) + " bytes at once");
  return std::string_view(room_.data(), static_cast<std::size_t>(size));
}

Result<std::optional<std::vector<Reply>>> Socket::receiveWaiting() {
  for (bool fromKernel = false;;) {
    auto datagram = receiveNow(fromKernel);
    if (!datagram) {
      if (datagram.error().sysErrno == EAGAIN) return std::optional<std::vector<Reply>>();
      if (datagram.error().sysErrno == ENOBUFS) datagram.error().code = Errc::kTryAgain;
      return std::move(datagram).error();
    }
    if (!fromKernel) continue;  // anyone may write to our port
    std::vector<Reply> replies;
    for (Frame frame; nextFrame(*datagram, frame);)
      replies.push_back(toReply(frame));
    return std::optional(std::move(replies));
  }
}

}  // namespace culvert::netlink
