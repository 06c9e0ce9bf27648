#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/ip.h"
#include "base/result.h"

namespace boost::asio {
class io_context;
}

namespace culvert::routing {

/// Which addresses are given away on this node: the names in host-local's directory of the pods'
/// network (ipam/host_local/README.md). Wakes only when something there changes.
class Reservations {
 public:
  /// `onChange` is called from the loop when all() has changed. The directory may come later.
  Reservations(boost::asio::io_context& loop, std::string directory,
               std::function<void()> onChange);
  ~Reservations();

  /// Reads what is there, and then hears of changes.
  Result<void> start();
  void stop();

  const std::string& directory() const;
  const std::set<IpAddress>& all() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

/// How many of the addresses are in the network.
std::size_t countIn(const std::set<IpAddress>& addresses, const IpPrefix& network);

}  // namespace culvert::routing
