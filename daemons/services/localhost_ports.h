#pragma once

#include <chrono>
#include <map>
#include <random>
#include <set>

#include "daemons/services/evaluate.h"
#include "daemons/services/listeners.h"
#include "daemons/services/tcp_relay.h"

namespace culvert::services {

/// TCP node ports at 127.0.0.1 and ::1 (KEP-6032). The kernel cannot translate what a host sends to
/// itself there without route_localnet, which opens 127.0.0.0/8 to the neighbours (CVE-2020-8558):
/// so this process carries the connections. A node port without an endpoint does not listen, and
/// is refused therefore.
class LocalhostPorts {
 public:
  static constexpr const char* kPrefix = "localhost node port ";  // of the listeners' names

  /// All of it must outlive this. `refused`: a connection was reset.
  LocalhostPorts(boost::asio::io_context& loop, Listeners& listeners, const Model& model,
                 std::function<void()> refused);

  /// Of these frontends, the TCP node ports have changed.
  void update(const std::set<At>& frontends);

 private:
  Verdict verdictOf(const At& nodePort) const;
  std::optional<Backend> choose(const At& nodePort);

  struct Sticky {
    Backend backend;
    std::chrono::steady_clock::time_point last;
  };

  Listeners& listeners_;
  const Model& model_;
  std::function<void()> refused_;
  TcpRelay relay_;
  std::map<At, Sticky> sticky_;  // where the one client that there is was sent, with affinity
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace culvert::services
