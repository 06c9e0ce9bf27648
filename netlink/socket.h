#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/netns.h"
#include "base/result.h"
#include "netlink/message.h"

namespace culvert::netlink {

/// What the kernel answered to one message of a batch: the ack, and the data that came before it.
struct Answer {
  Result<void> status;
  std::vector<Reply> replies;
};

/// A netlink socket, tied for life to the network namespace it was opened in. Not thread-safe.
///
/// Every error carries the kernel's extended-ACK text in `details` (netlink(7), NETLINK_EXT_ACK).
/// Only messages from the kernel (port 0) that carry the sequence number asked for are looked at.
/// Reads are sized by peeking; strict checking (NETLINK_GET_STRICT_CHK) makes the kernel refuse
/// filters it would ignore.
class Socket {
 public:
  /// `protocol` is NETLINK_ROUTE, NETLINK_NETFILTER, ... (linux/netlink.h).
  static Result<Socket> open(int protocol);
  static Result<Socket> openIn(const NetNs& ns, int protocol);

  /// Sends the batch in one system call and reads every answer: element i answers message i.
  /// The outer error means that the socket itself failed (kTryAgain after an overrun, ENOBUFS).
  Result<std::vector<Answer>> transact(Batch& batch);

  /// A message of a batch that failed.
  struct Failure {
    std::size_t index = 0;
    Error error;
  };
  /// Sends the batch in one system call and reads only what failed, in order: the kernel answers
  /// nothing else. For thousands of small changes; the batch must fit the buffers
  /// (receiveBufferBytes(), about 1 KiB for each message that may fail).
  Result<std::vector<Failure>> transactQuietly(Batch& batch);

  /// transact(), and the first failure if any message failed.
  Result<void> execute(Batch& batch);

  /// Sends a batch of one dump request (the caller sets NLM_F_DUMP). A dump that the kernel marks
  /// as interrupted (NLM_F_DUMP_INTR) is repeated, ten times at most, then kTryAgain: partial data
  /// is never returned.
  Result<std::vector<Reply>> dump(Batch& batch);

  /// For families whose libraries build whole batches themselves (nf_tables): sends `bytes` as
  /// they are and returns the next datagram, or kTryAgain if none comes within `timeoutMs`.
  Result<void> sendRaw(std::string_view bytes);
  Result<std::vector<Reply>> receiveRaw(int timeoutMs);

  /// Joins a multicast group (RTNLGRP_*).
  Result<void> subscribe(unsigned group);
  /// The next notifications; blocks `timeoutMs` at most (-1: for ever). kTryAgain on a timeout,
  /// and with sysErrno ENOBUFS on an overrun, after which the caller must list everything anew.
  Result<std::vector<Reply>> receiveEvents(int timeoutMs);

  /// Asks for a receive buffer of `bytes`: SO_RCVBUFFORCE (CAP_NET_ADMIN), else as much as
  /// net.core.rmem_max allows. Returns what receiveBufferBytes() is then.
  std::size_t growReceiveBuffer(std::size_t bytes);
  /// As the kernel counts: each waiting message takes its size and some 700 bytes.
  std::size_t receiveBufferBytes() const;
  /// The netlink port, by which notifications name who caused them; 0 before anything was sent.
  std::uint32_t port() const;
  /// The next datagram that waits, or nothing if none does. Never blocks. With kTryAgain and
  /// sysErrno ENOBUFS some were lost: then read on until nothing waits (the kernel delivers none
  /// before), and list everything anew.
  Result<std::optional<std::vector<Reply>>> receiveWaiting();
  /// From now on what is received is overwritten after use, but for what is returned.
  void keepSecrets() noexcept { secret_ = true; }

  int fd() const noexcept { return fd_.get(); }
  /// Another descriptor of the same socket, for use in turn with this one.
  Result<Socket> share() const;
  /// Whether anything was ever sent: before that the kernel does not know the socket.
  bool isBound() const noexcept { return fd_ && bound_; }

 private:
  explicit Socket(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<void> setOption(int option, bool mandatory);
  Result<std::string_view> receiveNow(bool& fromKernel);
  Result<std::string> receiveDatagram(std::size_t bufferBytes = 0);
  Result<std::vector<Reply>> dumpOnce(Batch& batch, bool& interrupted);

  UniqueFd fd_;
  bool bound_ = false;
  bool secret_ = false;
  std::vector<char> room_;  // of receiveWaiting()
  std::uint32_t nextSequence_ = 1;
};

/// The error in an NLMSG_ERROR payload, or nothing for an ack (code 0).
Result<void> parseAck(std::string_view payload, std::uint16_t flags);

}  // namespace culvert::netlink
