#include "daemons/services/health_check_ports.h"

#include <iterator>

#include "daemons/frame/listen.h"

namespace culvert::services {

void HealthCheckPorts::set(const Key& service, std::uint16_t port) {
  if (port == 0)
    ports_.erase(service);
  else
    ports_[service] = port;
}

void HealthCheckPorts::reconcile(const std::set<IpAddress>& addresses) {
  std::set<Place> wanted;
  for (const auto& [service, port] : ports_) {
    for (const IpAddress& address : addresses)
      wanted.insert({port, address, service});
  }
  std::erase_if(servers_, [&](const auto& server) { return wanted.count(server.first) == 0; });
  failures_.clear();
  for (const Place& place : wanted) {
    if (servers_.count(place) > 0) continue;
    if (auto server = open(place)) servers_.emplace(place, std::move(server));
  }
}

std::unique_ptr<frame::HttpServer> HealthCheckPorts::open(const Place& place) {
  auto socket = frame::listenTcp({place.address, place.port}, frame::Families::kOwnOnly);
  if (!socket) {
    failures_.emplace(place, socket.error());
    return nullptr;
  }
  return std::make_unique<frame::HttpServer>(
      loop_, std::move(socket->fd),
      [this, service = place.service](const frame::HttpRequest&, const frame::Respond& respond) {
        respond(answer_(service));
      });
}

std::vector<frame::Complaint> HealthCheckPorts::complaints() const {
  std::vector<frame::Complaint> all;
  for (const auto& [place, why] : failures_)
    all.push_back({"health check of Service " + place.service.text() + ": " + why.message,
                   "free the port, or give the Service another healthCheckNodePort"});
  return all;
}

}  // namespace culvert::services
