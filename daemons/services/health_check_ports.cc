#include "daemons/services/health_check_ports.h"

namespace culvert::services {

void HealthCheckPorts::set(const Key& service, std::uint16_t port) {
  const auto known = ports_.find(service);
  if (port == (known == ports_.end() ? 0 : known->second)) return;
  changed_ = true;
  if (port == 0)
    ports_.erase(service);
  else
    ports_[service] = port;
}

void HealthCheckPorts::reconcile(const std::set<IpAddress>& addresses) {
  if (!changed_ && addresses == addresses_) return;
  changed_ = false;
  addresses_ = addresses;
  struct Wanted {
    Key service;
    frame::ListenAddress at;
  };
  std::map<std::string, Wanted> wanted;
  for (const auto& [service, port] : ports_) {
    for (const IpAddress& address : addresses)
      wanted[service.text() + "'s health check node port at " + address.text()] = {service,
                                                                                   {address, port}};
  }
  std::erase_if(names_, [&](const std::string& name) {  // first: a port may get a new owner
    const bool gone = wanted.count(name) == 0;
    if (gone) listeners_.drop(name);
    return gone;
  });
  for (const auto& [name, what] : wanted) {
    names_.insert(name);
    listeners_.want(name, what.at, serve(what.service));
  }
}

Listeners::Serve HealthCheckPorts::serve(const Key& service) {
  const auto answer = [this, service](const frame::HttpRequest&, const frame::Respond& respond) {
    respond(answer_(service));
  };
  return [this, answer](UniqueFd socket) {
    return std::make_shared<frame::HttpServer>(loop_, std::move(socket), answer);
  };
}

}  // namespace culvert::services
