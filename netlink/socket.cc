#include "netlink/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netlink/frame.h"

namespace culvert::netlink {
namespace {

constexpr int kDumpAttempts = 10;
/// The kernel fills datagrams of a dump as large as it has seen us read, up to this size. nf_tables
/// begins anew for each: small ones make listing 100,000 elements ten times as slow.
constexpr std::size_t kDumpBufferBytes = 32768;

/// Overwrites a datagram when it goes out of scope.
class Wipe {
 public:
  Wipe(const std::string& data, bool wanted) : data_(data), wanted_(wanted) {}
  Wipe(const Wipe&) = delete;
  Wipe& operator=(const Wipe&) = delete;
  ~Wipe() {
    if (wanted_) ::explicit_bzero(const_cast<char*>(data_.data()), data_.size());
  }

 private:
  const std::string& data_;
  bool wanted_;
};

}  // namespace

bool nextFrame(std::string_view& rest, Frame& frame) {
  if (rest.size() < sizeof(nlmsghdr)) return false;
  std::memcpy(&frame.header, rest.data(), sizeof frame.header);
  const std::size_t length = frame.header.nlmsg_len;
  if (length < sizeof(nlmsghdr) || length > rest.size()) return false;
  frame.payload = rest.substr(NLMSG_HDRLEN, length - NLMSG_HDRLEN);
  rest.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(length), rest.size()));
  return true;
}

Reply toReply(const Frame& frame) {
  return {frame.header.nlmsg_type, frame.header.nlmsg_flags, std::string(frame.payload),
          frame.header.nlmsg_pid};
}

Result<void> parseAck(std::string_view payload, std::uint16_t flags) {
  nlmsgerr ack{};
  if (payload.size() < sizeof ack)
    return makeError(Errc::kIo, "netlink: truncated acknowledgement");
  std::memcpy(&ack, payload.data(), sizeof ack);
  if (ack.error == 0) return {};
  constexpr int kMaxErrno = 4095;  // linux/err.h; INT_MIN has no positive counterpart
  if (ack.error > 0 || ack.error < -kMaxErrno) {
    return makeError(Errc::kIo, "netlink: acknowledgement of " + std::to_string(ack.error));
  }
  Error error = fromErrno(-ack.error, "netlink");
  if ((flags & NLM_F_ACK_TLVS) != 0) {
    std::size_t skip = sizeof ack;
    if ((flags & NLM_F_CAPPED) == 0 && ack.msg.nlmsg_len > sizeof(nlmsghdr)) {
      skip += NLMSG_ALIGN(ack.msg.nlmsg_len - sizeof(nlmsghdr));
    }
    if (skip <= payload.size()) {
      error.details = Attributes(payload.substr(skip)).string(NLMSGERR_ATTR_MSG).value_or("");
    }
  }
  if (!error.details.empty()) error.message += " (" + error.details + ")";
  return error;
}

Result<Socket> Socket::open(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fromErrno(errno, "open netlink socket");
  Socket result(std::move(fd));
  TRY(result.setOption(NETLINK_EXT_ACK, true));
  TRY(result.setOption(NETLINK_CAP_ACK, true));
  if (protocol == NETLINK_ROUTE) TRY(result.setOption(NETLINK_GET_STRICT_CHK, true));
  return result;
}

Result<Socket> Socket::openIn(const NetNs& ns, int protocol) {
  return ns.run([&] { return open(protocol); });
}

Result<void> Socket::setOption(int option, bool mandatory) {
  const int on = 1;
  if (::setsockopt(fd_.get(), SOL_NETLINK, option, &on, sizeof on) == 0 || !mandatory) return {};
  return fromErrno(errno, "netlink socket option " + std::to_string(option));
}

Result<Socket> Socket::share() const {
  UniqueFd copy(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fromErrno(errno, "copy netlink socket");
  return Socket(std::move(copy));
}

Result<void> Socket::sendRaw(std::string_view bytes) {
  bound_ = true;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  for (;;) {
    const ssize_t sent = ::sendto(fd_.get(), bytes.data(), bytes.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
    if (sent == static_cast<ssize_t>(bytes.size())) return {};
    if (sent < 0 && errno == EINTR) continue;
    return fromErrno(sent < 0 ? errno : EMSGSIZE, "netlink send");
  }
}

Result<std::string> Socket::receiveDatagram(std::size_t bufferBytes) {
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), nullptr, 0, MSG_PEEK | MSG_TRUNC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      Error error = fromErrno(errno, "netlink receive");
      if (error.sysErrno == ENOBUFS) error.code = Errc::kTryAgain;
      return error;
    }
    std::string data(std::max(static_cast<std::size_t>(size), bufferBytes), '\0');
    sockaddr_nl sender{};
    socklen_t senderSize = sizeof sender;
    const ssize_t got = ::recvfrom(fd_.get(), data.data(), data.size(), 0,
                                   reinterpret_cast<sockaddr*>(&sender), &senderSize);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fromErrno(errno, "netlink receive");
    if (sender.nl_pid != 0) continue;  // not from the kernel: anyone may write to our port
    data.resize(static_cast<std::size_t>(got));
    return data;
  }
}

Result<std::vector<Answer>> Socket::transact(Batch& batch) {
  const std::uint32_t first = nextSequence_;
  nextSequence_ += static_cast<std::uint32_t>(batch.count());
  const std::vector<char>& bytes = batch.finish(first);
  TRY(sendRaw({bytes.data(), bytes.size()}));

  std::vector<Answer> answers(batch.count());
  for (std::size_t open = batch.count(); open > 0;) {
    const std::string datagram = TRY(receiveDatagram());
    std::string_view rest = datagram;
    for (Frame frame; nextFrame(rest, frame);) {
      const std::uint32_t index = frame.header.nlmsg_seq - first;
      if (index >= answers.size()) continue;  // an answer to an earlier, abandoned request
      if (frame.header.nlmsg_type != NLMSG_ERROR) {
        answers[index].replies.push_back(toReply(frame));
        continue;
      }
      answers[index].status = parseAck(frame.payload, frame.header.nlmsg_flags);
      --open;
    }
  }
  return answers;
}

Result<void> Socket::execute(Batch& batch) {
  for (Answer& answer : TRY(transact(batch))) {
    if (!answer.status) return std::move(answer.status);
  }
  return {};
}

Result<std::vector<Reply>> Socket::dumpOnce(Batch& batch, bool& interrupted) {
  const std::uint32_t sequence = nextSequence_++;
  const std::vector<char>& bytes = batch.finish(sequence);
  TRY(sendRaw({bytes.data(), bytes.size()}));
  std::vector<Reply> replies;
  for (;;) {
    const std::string datagram = TRY(receiveDatagram(kDumpBufferBytes));
    const Wipe wipe(datagram, secret_);
    std::string_view rest = datagram;
    for (Frame frame; nextFrame(rest, frame);) {
      if (frame.header.nlmsg_seq != sequence) continue;
      if ((frame.header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (frame.header.nlmsg_type == NLMSG_ERROR) {
        TRY(parseAck(frame.payload, frame.header.nlmsg_flags));
        return replies;
      }
      if (frame.header.nlmsg_type == NLMSG_DONE) {
        int status = 0;
        if (frame.payload.size() >= sizeof status) {
          std::memcpy(&status, frame.payload.data(), sizeof status);
        }
        if (status < 0) return fromErrno(-status, "netlink dump");
        return replies;
      }
      replies.push_back(toReply(frame));
    }
  }
}

Result<std::vector<Reply>> Socket::dump(Batch& batch) {
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    bool interrupted = false;
    auto replies = TRY(dumpOnce(batch, interrupted));
    if (!interrupted) return replies;
    for (const Reply& reply : replies)
      const Wipe wipe(reply.payload, secret_);
  }
  return makeError(Errc::kTryAgain, "netlink dump: interrupted by changes " +
                                        std::to_string(kDumpAttempts) + " times in a row");
}

Result<void> Socket::subscribe(unsigned group) {
  // Without a port of its own (netlink binds lazily, on the first send) the socket looks to the
  // kernel like the sender of what the kernel itself multicasts, and is passed over.
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  if (port() == 0 && ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
    return fromErrno(errno, "bind netlink socket");
  }
  if (::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0) {
    return {};
  }
  return fromErrno(errno, "join netlink group " + std::to_string(group));
}

std::uint32_t Socket::port() const {
  sockaddr_nl own{};
  socklen_t size = sizeof own;
  if (::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0) return 0;
  return own.nl_pid;
}

Result<std::vector<Reply>> Socket::receiveRaw(int timeoutMs) {
  pollfd ready{fd_.get(), POLLIN, 0};
  const int count = ::poll(&ready, 1, timeoutMs);
  if (count < 0) return fromErrno(errno, "netlink poll");
  if (count == 0) return makeError(Errc::kTryAgain, "netlink: no answer in time");
  const std::string datagram = TRY(receiveDatagram());
  std::vector<Reply> replies;
  std::string_view rest = datagram;
  for (Frame frame; nextFrame(rest, frame);)
    replies.push_back(toReply(frame));
  return replies;
}

Result<std::vector<Reply>> Socket::receiveEvents(int timeoutMs) {
  return receiveRaw(timeoutMs);
}

}  // namespace culvert::netlink
