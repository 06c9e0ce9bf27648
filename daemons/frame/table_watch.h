#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>

#include "base/result.h"
#include "netlink/nft_watch.h"

namespace culvert::frame {

/// Says when somebody else has changed one of our nftables tables. For kernels that do not protect
/// it (nft::Transaction::own).
class TableWatch {
 public:
  /// `port` is that of the connection that changes the table for us. `changed` is called from the
  /// loop, as long as this lives.
  static Result<std::unique_ptr<TableWatch>> open(boost::asio::io_context& loop, nft::Table table,
                                                  std::uint32_t port,
                                                  std::function<void()> changed);
  ~TableWatch();

 private:
  TableWatch(boost::asio::io_context& loop, nft::Watch watch, nft::Table table, std::uint32_t port,
             std::function<void()> changed);
  void wait();
  void hear();

  nft::Watch watch_;
  nft::Table table_;
  std::uint32_t port_;
  std::function<void()> changed_;
  boost::asio::posix::stream_descriptor events_;
};

}  // namespace culvert::frame
