#pragma once

#include <cstdint>

#include "base/result.h"
#include "netlink/nft.h"
#include "netlink/socket.h"

namespace culvert::nft {

/// Hears of changes to nf_tables in a namespace, whoever makes them (NFNLGRP_NFTABLES).
class Watch {
 public:
  /// Hears everything from now on: first open, then list. Of the calling thread's namespace.
  static Result<Watch> open();

  /// Becomes readable when something has happened. Owned by this.
  int fd() const noexcept { return socket_.fd(); }

  /// Reads what has happened until nothing is left; never waits. True if somebody else than the
  /// Connection with the port `own` changed `table` or what is in it, or if some was lost.
  Result<bool> drain(const Table& table, std::uint32_t own);

 private:
  explicit Watch(netlink::Socket socket) : socket_(std::move(socket)) {}

  netlink::Socket socket_;
};

}  // namespace culvert::nft
