#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "daemons/frame/http_server.h"
#include "daemons/services/listeners.h"
#include "daemons/services/plan.h"

namespace culvert::services {

/// An HTTP server at each Service's healthCheckNodePort, for external load balancers: they send
/// only to nodes that have an endpoint. What is answered is found out when somebody asks.
class HealthCheckPorts {
 public:
  using Answer = std::function<frame::HttpResponse(const Key& service)>;

  /// Both must outlive this.
  HealthCheckPorts(boost::asio::io_context& loop, Listeners& listeners, Answer answer)
      : loop_(loop), listeners_(listeners), answer_(std::move(answer)) {}

  /// The Service's port; 0: it has none. Nothing is opened before the next reconcile().
  void set(const Key& service, std::uint16_t port);
  /// Listens at all these addresses and no others.
  void reconcile(const std::set<IpAddress>& addresses);

 private:
  Listeners::Serve serve(const Key& service);

  boost::asio::io_context& loop_;
  Listeners& listeners_;
  Answer answer_;
  std::map<Key, std::uint16_t> ports_;
  std::set<IpAddress> addresses_;
  std::set<std::string> names_;  // of what is wanted of `listeners_`
  bool changed_ = false;
};

}  // namespace culvert::services
