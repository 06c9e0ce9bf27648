#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "daemons/frame/http_server.h"
#include "daemons/frame/role.h"
#include "daemons/services/plan.h"

namespace culvert::services {

/// An HTTP server at each Service's healthCheckNodePort, for external load balancers: they send
/// only to nodes that have an endpoint. What is answered is found out when somebody asks.
class HealthCheckPorts {
 public:
  using Answer = std::function<frame::HttpResponse(const Key& service)>;

  HealthCheckPorts(boost::asio::io_context& loop, Answer answer)
      : loop_(loop), answer_(std::move(answer)) {}

  /// The Service's port; 0: it has none. Nothing is opened before the next reconcile().
  void set(const Key& service, std::uint16_t port);
  /// Listens on all these addresses and no others. Where it cannot, it tries again each time.
  void reconcile(const std::set<IpAddress>& addresses);
  void closeAll() { servers_.clear(); }

  std::vector<frame::Complaint> complaints() const;

 private:
  struct Place {
    std::uint16_t port = 0;
    IpAddress address;
    Key service;
    auto operator<=>(const Place&) const = default;
  };
  std::unique_ptr<frame::HttpServer> open(const Place& place);

  boost::asio::io_context& loop_;
  Answer answer_;
  std::map<Key, std::uint16_t> ports_;
  std::map<Place, std::unique_ptr<frame::HttpServer>> servers_;
  std::map<Place, Error> failures_;
};

}  // namespace culvert::services
