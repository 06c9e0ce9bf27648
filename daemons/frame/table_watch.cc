#include "daemons/frame/table_watch.h"

#include <boost/asio/io_context.hpp>

namespace culvert::frame {

Result<std::unique_ptr<TableWatch>> TableWatch::open(boost::asio::io_context& loop,
                                                     nft::Table table, std::uint32_t port,
                                                     std::function<void()> changed) {
  return std::unique_ptr<TableWatch>(
      new TableWatch(loop, TRY(nft::Watch::open()), std::move(table), port, std::move(changed)));
}

TableWatch::TableWatch(boost::asio::io_context& loop, nft::Watch watch, nft::Table table,
                       std::uint32_t port, std::function<void()> changed)
    : watch_(std::move(watch)),
      table_(std::move(table)),
      port_(port),
      changed_(std::move(changed)),
      events_(loop, watch_.fd()) {
  wait();
}

TableWatch::~TableWatch() {
  events_.release();  // the Watch owns the descriptor
}

void TableWatch::wait() {
  events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](const boost::system::error_code& error) {
                       if (!error) hear();
                     });
}

void TableWatch::hear() {
  const auto changed = watch_.drain(table_, port_);
  if (!changed || *changed) changed_();
  wait();
}

}  // namespace culvert::frame
