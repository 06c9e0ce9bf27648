#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "ipam/dhcp/loop.h"
#include "ipam/dhcp/protocol.h"

namespace culvert::ipam::dhcp {

/// One connection on the daemon's socket: a request comes in, an answer goes out. A peer that is
/// slow, silent, or says too much is cut off; it never holds the loop up.
class Peer : public std::enable_shared_from_this<Peer> {
 public:
  using OnRequest = std::function<void(const std::shared_ptr<Peer>&, const DaemonRequest&)>;
  using OnClosed = std::function<void(Peer*)>;

  Peer(Loop& loop, UniqueFd fd, OnRequest onRequest, OnClosed onClosed);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  Result<void> start();
  /// Sends the answer and closes. Does nothing if the peer has gone.
  void answer(const Result<Leases>& answer);
  /// What to do if the peer goes away before it is answered.
  void onGone(std::function<void()> gone) { gone_ = std::move(gone); }

 private:
  void onReadable();
  void onWritable();
  void close();

  Loop& loop_;
  UniqueFd fd_;
  OnRequest onRequest_;
  OnClosed onClosed_;
  std::function<void()> gone_;
  std::string received_, unsent_;
  bool asked_ = false, closed_ = false;
};

}  // namespace culvert::ipam::dhcp
