#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/fd.h"
#include "daemons/services/plan.h"

namespace boost::asio {
class io_context;
}

namespace culvert::services {

/// Carries TCP connections from listening sockets to endpoints, in this process. An end of either
/// side's stream goes to the other side, and so does a reset; who says nothing is not cut off.
class TcpRelay {
 public:
  struct Limits {
    std::size_t connections = 250;  // two descriptors each: half of the usual limit of 1024
    std::size_t buffer = std::size_t{16} * 1024;  // bytes on the way, in each direction
    std::chrono::milliseconds connect{10'000};
  };
  /// Asked for each connection. Nothing: it is reset.
  using Choose = std::function<std::optional<Backend>()>;

  TcpRelay(boost::asio::io_context& loop, Limits limits);
  /// Resets all connections.
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  /// Takes connections from a listening socket, until what it returns is gone: then the socket is
  /// closed, while its connections go on. `refused` hears of those that are reset at once, beyond
  /// the limit or without an endpoint.
  std::shared_ptr<void> serve(const UniqueFd& socket, Choose choose, std::function<void()> refused);

  std::size_t connections() const;

 private:
  class Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace culvert::services
