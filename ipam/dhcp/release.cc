#include "ipam/dhcp/release.h"

#include <poll.h>

#include "ipam/dhcp/client4.h"
#include "ipam/dhcp/client6.h"
#include "ipam/dhcp/transport.h"

namespace culvert::ipam::dhcp {
namespace {

Result<void> release4(const Interface& interface, const Record& record) {
  Client4 client(
      {.mac = interface.place.mac, .provide = record.order.provide, .request = {}, .retry = {}},
      randomBits);
  client.resume(*record.leases.v4, now());
  return sendRelease4(interface, *record.leases.v4, *client.release());
}

Result<void> sendAll(int fd, const Interface& interface, const Client6::Step& step) {
  for (const std::string& message : step.send)
    TRY(sendUdp6(fd, interface.link.index, message));
  return {};
}

Result<void> release6(const Interface& interface, const Record& record) {
  const Order& order = record.order;
  Client6 client(
      {.duid = duidOf(order.containerId + "/" + order.network + "/" + order.ifName), .retry = {}},
      randomBits);
  client.resume(*record.leases.v6);
  const UniqueFd fd = TRY(openUdp6(interface));
  TRY(sendAll(fd.get(), interface, client.release(now())));
  while (client.state() == Client6::State::kReleasing) {
    pollfd wait{.fd = fd.get(), .events = POLLIN, .revents = 0};
    const Duration left = std::max(client.deadline() - now(), Duration(0));
    static_cast<void>(::poll(&wait, 1, static_cast<int>(left.count())));
    while (const auto received = receiveUdp(fd.get())) {
      const Result<Message6> message = parse6(received->data);
      if (message) static_cast<void>(client.onMessage(*message, now()));
    }
    TRY(sendAll(fd.get(), interface, client.onTimer(now())));
  }
  return {};
}

}  // namespace

Result<void> releaseDirectly(const Record& record) {
  const auto interface = findInterface(record.order.netns, record.order.ifName);
  if (!interface || !isSame(*interface, record)) return {};
  FirstError outcome;
  if (record.leases.v4) outcome.note(release4(*interface, record));
  if (record.leases.v6) outcome.note(release6(*interface, record));
  return std::move(outcome).take();
}

}  // namespace culvert::ipam::dhcp
