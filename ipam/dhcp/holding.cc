#include "ipam/dhcp/holding.h"

#include <sys/epoll.h>

#include <algorithm>

namespace culvert::ipam::dhcp {
namespace {

constexpr Duration kLookAgain{10'000};
constexpr std::uint64_t kSpreadMillis = 2000;  // of renewals that fell due while no daemon ran

/// Leases that fell due meanwhile are renewed soon, but not all in the same moment.
Schedule spread(Schedule schedule, Instant now, const Random& random) {
  if (schedule.renewAt <= now) {
    schedule.renewAt = std::min(now + Duration(random() % kSpreadMillis), schedule.rebindAt);
  }
  return schedule;
}

template <class Lease>
std::optional<IpAddress> addressOf(const std::optional<Lease>& lease) {
  if (!lease) return std::nullopt;
  return lease->address.address();
}

}  // namespace

Holding::Holding(Context& context, Order order, Ended ended)
    : context_(context),
      record_{.order = std::move(order), .place = {}, .leases = {}, .bootId = {}},
      ended_(std::move(ended)) {
  record_.bootId = context.bootId;
}

Holding::~Holding() {
  context_.loop.cancel(this);
  closeSockets();
}

std::string Holding::name() const {
  const Order& order = record_.order;
  return order.network + "/" + order.containerId + "/" + order.ifName;
}

void Holding::log(const std::string& what) const {
  context_.log(name() + ": " + what);
}

/// An ipvlan shares its master's MAC: before it has an address, no unicast finds it.
bool Holding::wantsBroadcast() const {
  return context_.broadcast || (sockets_ && sockets_->interface.link.kind == "ipvlan");
}

void Holding::makeClients() {
  const Order& order = record_.order;
  if (order.v4) {
    client4_ = std::make_unique<Client4>(Client4::Settings{.mac = record_.place.mac,
                                                           .provide = order.provide,
                                                           .request = order.request,
                                                           .broadcast = wantsBroadcast(),
                                                           .retry = context_.retry},
                                         context_.random);
  }
  if (order.v6) {
    client6_ = std::make_unique<Client6>(
        Client6::Settings{
            .duid = duidOf(order.containerId + "/" + order.network + "/" + order.ifName),
            .retry = context_.retry},
        context_.random);
  }
}

Result<void> Holding::openInterface() {
  if (sockets_) return {};
  Interface found =
      TRY(findInterface(context_.hostPrefix + record_.order.netns, record_.order.ifName));
  sockets_.emplace(Sockets{std::move(found), {}, {}, {}});
  return {};
}

void Holding::acquire(const Leases& remembered, Answer answer) {
  answer_ = std::move(answer);
  const Result<void> opened = openInterface();
  if (!opened) return giveUp(opened.error());
  record_.place = sockets_->interface.place;
  makeClients();
  const auto self = shared_from_this();
  const Instant time = now();
  if (client4_) perform(client4_->acquire(time, addressOf(remembered.v4)));
  if (client6_ && !ending_) perform(client6_->acquire(time, addressOf(remembered.v6)));
  settle();
}

void Holding::adopt(Record record) {
  record_ = std::move(record);
  makeClients();
  const Instant time = now();
  if (auto& lease = record_.leases.v4; client4_ && lease) {
    lease->schedule = spread(lease->schedule, time, context_.random);
    client4_->resume(*lease, time);
  }
  if (auto& lease = record_.leases.v6; client6_ && lease) {
    lease->schedule = spread(lease->schedule, time, context_.random);
    client6_->resume(*lease);
  }
  settle();
}

Result<Leases> Holding::leases() const {
  if (answer_) return makeError(Errc::kTryAgain, "the lease of " + name() + " is being acquired");
  if (released_) return makeError(Errc::kTryAgain, "the lease of " + name() + " is being released");
  return record_.leases;
}

// --- sockets -------------------------------------------------------------------------------------

Result<void> Holding::watch(const UniqueFd& fd, void (Holding::*ready)()) {
  return context_.loop.watch(fd.get(), EPOLLIN, [this, ready] {
    const auto self = shared_from_this();
    (this->*ready)();
    settle();
  });
}

void Holding::closeSocket(UniqueFd& fd) {
  if (fd) context_.loop.unwatch(fd.get());
  fd = UniqueFd();
}

void Holding::closeSockets() {
  closeAt_ = kNever;
  if (!sockets_) return;
  closeSocket(sockets_->frames4);
  closeSocket(sockets_->udp4);
  closeSocket(sockets_->udp6);
  sockets_.reset();
}

/// The socket for a DHCPv4 message, opened on first use. Where the container itself has UDP port
/// 68, frames do as well.
Result<int> Holding::socketFor(Client4::Via via) {
  Sockets& sockets = *sockets_;
  if (via != Client4::Via::kFrame && !sockets.udp4) {
    auto opened = openUdp4(sockets.interface);
    if (opened) {
      sockets.udp4 = std::move(*opened);
      TRY(watch(sockets.udp4, &Holding::onUdp4));
    }
  }
  if (via != Client4::Via::kFrame && sockets.udp4) return sockets.udp4.get();
  if (!sockets.frames4) {
    sockets.frames4 = TRY(openFrames4(sockets.interface));
    TRY(watch(sockets.frames4, &Holding::onFrames4));
  }
  return sockets.frames4.get();
}

Result<void> Holding::send(const Client4::Outgoing& outgoing) {
  const int fd = TRY(socketFor(outgoing.via));
  const netlink::IfIndex link = sockets_->interface.link.index;
  const IpAddress everybody = *IpAddress::parse("255.255.255.255");
  const IpAddress to = outgoing.via == Client4::Via::kUnicast ? outgoing.to : everybody;
  if (sockets_->udp4 && fd == sockets_->udp4.get()) return sendUdp4(fd, to, outgoing.message);
  if (outgoing.via == Client4::Via::kFrame)
    return sendFrame4(fd, link, {}, packet4(IpAddress(), everybody, outgoing.message));
  const Lease4& lease = *client4_->lease();
  const bool direct = outgoing.via == Client4::Via::kUnicast && lease.serverMac;
  return sendFrame4(fd, link, direct ? lease.serverMac : std::nullopt,
                    packet4(lease.address.address(), to, outgoing.message));
}

Result<void> Holding::send(const std::string& message6) {
  if (!sockets_->udp6) {
    sockets_->udp6 = TRY(openUdp6(sockets_->interface));
    TRY(watch(sockets_->udp6, &Holding::onUdp6));
  }
  return sendUdp6(sockets_->udp6.get(), sockets_->interface.link.index, message6);
}

void Holding::perform(const Client4::Step& step) {
  for (const Client4::Outgoing& each : step.send) {
    const Result<void> sent = send(each);
    if (!sent) log(sent.error().message);  // as good as lost: sent again later
    closeAt_ = now() + context_.retry.timeout;
  }
  onEvent(step.event, Family::kV4);
}

void Holding::perform(const Client6::Step& step) {
  for (const std::string& each : step.send) {
    const Result<void> sent = send(each);
    if (!sent) log(sent.error().message);
    closeAt_ = now() + context_.retry.timeout;
  }
  onEvent(step.event, Family::kV6);
}

void Holding::handle4(const Received& received) {
  const Result<Message4> message = parse4(received.data);
  if (message && client4_) perform(client4_->onMessage(*message, received.from, now()));
}

void Holding::onFrames4() {
  while (sockets_ && sockets_->frames4 && !ending_) {
    const auto received = receiveFrame4(sockets_->frames4.get());
    if (!received) return;
    handle4(*received);
  }
}

void Holding::onUdp4() {
  while (sockets_ && sockets_->udp4 && !ending_) {
    auto received = receiveUdp(sockets_->udp4.get());
    if (!received) return;
    handle4(*received);
  }
}

void Holding::onUdp6() {
  while (sockets_ && sockets_->udp6 && !ending_) {
    const auto received = receiveUdp(sockets_->udp6.get());
    if (!received) return;
    const Result<Message6> message = parse6(received->data);
    if (message && client6_) perform(client6_->onMessage(*message, now()));
  }
}

// --- what happens --------------------------------------------------------------------------------

void Holding::onTimer() {
  const auto self = shared_from_this();
  const Instant time = now();
  retryAt_ = kNever;
  const bool due4 = client4_ && client4_->deadline() <= time;
  const bool due6 = client6_ && client6_->deadline() <= time;
  if ((due4 || due6) && !checkStillOurs()) return settle();
  if (due4) perform(client4_->onTimer(time));
  if (due6 && !ending_) perform(client6_->onTimer(time));
  if (time >= closeAt_ && !answer_ && !released_) closeSockets();
  settle();
}

/// Before an exchange: the record is still there and so is its interface. Otherwise there is
/// nothing to renew for, nor anything to speak through.
bool Holding::checkStillOurs() {
  if (sockets_) return true;
  if (!context_.store.contains(record_.order.key())) {
    log("the record is gone: let go");
    end();
    return false;
  }
  const Result<void> opened = openInterface();
  if (!opened && opened.error().code != Errc::kNotFound &&
      opened.error().code != Errc::kInvalidNetns) {
    log(opened.error().message);
    retryAt_ = now() + kLookAgain;
    return false;
  }
  if (!opened || !isSame(sockets_->interface, record_)) {
    log("its interface is gone: let go");
    static_cast<void>(context_.store.remove(record_.order.key()));
    end();
    return false;
  }
  if (client4_) client4_->setInterface(sockets_->interface.place.mac, wantsBroadcast());
  return true;
}

void Holding::onEvent(Event event, Family family) {
  switch (event) {
    case Event::kNone:
      if (released_) finishRelease();
      return;
    case Event::kBound:
    case Event::kRenewed:
      if (family == Family::kV4) record_.leases.v4 = client4_->lease();
      if (family == Family::kV6) record_.leases.v6 = client6_->lease();
      return onAcquired();
    case Event::kGaveUp: {
      const std::string& why =
          family == Family::kV4 ? client4_->complaint() : client6_->complaint();
      return giveUp(makeError(Errc::kTryAgain,
                              std::string(family == Family::kV4 ? "DHCP" : "DHCPv6") + " on '" +
                                  record_.order.ifName + "': no more tries",
                              why.empty() ? "no server answered" : why));
    }
    case Event::kLost:
      return onLost(family);
  }
}

void Holding::onAcquired() {
  const bool complete = (!client4_ || record_.leases.v4) && (!client6_ || record_.leases.v6);
  if (answer_ && !complete) return;
  const Result<void> written = context_.store.write(record_);
  if (!answer_) {
    if (!written) log(written.error().message);
    return;
  }
  if (!written) return giveUp(written.error());
  const Answer answer = std::exchange(answer_, nullptr);
  if (record_.leases.v4) log("leased " + record_.leases.v4->address.text());
  if (record_.leases.v6) log("leased " + record_.leases.v6->address.text());
  answer(record_.leases);
}

void Holding::onLost(Family family) {
  const auto& [v4, v6] = record_.leases;
  const IpPrefix address = family == Family::kV4 ? v4->address : v6->address;
  if (family == Family::kV4) record_.leases.v4.reset(), client4_.reset();
  if (family == Family::kV6) record_.leases.v6.reset(), client6_.reset();
  const bool last = !v4 && !v6;
  log("the lease of " + address.text() + " is over" + (last ? ": interface down" : ""));
  if (sockets_) {
    const Result<void> done = withdraw(sockets_->interface, address, last);
    if (!done) log(done.error().message);
  }
  const Result<void> kept =
      last ? context_.store.remove(record_.order.key()) : context_.store.write(record_);
  if (!kept) log(kept.error().message);
  if (last) end();
}

/// ADD fails: what one family got is given back.
void Holding::giveUp(const Error& error) {
  const Answer answer = std::exchange(answer_, nullptr);
  const auto self = shared_from_this();
  release([answer, error] {
    if (answer) answer(error);
  });
}

void Holding::abandon() {
  answer_ = nullptr;
  release([] {});
}

void Holding::forget() {
  end();
}

// --- the end -------------------------------------------------------------------------------------

void Holding::release4() {
  if (!client4_) return;
  const std::optional<Lease4> lease = client4_->lease();
  const auto message = client4_->release();
  client4_.reset();
  if (!lease || !message) return;
  const Result<void> sent = sendRelease4(sockets_->interface, *lease, *message);
  log(sent ? "released " + lease->address.text() : sent.error().message);
}

void Holding::release(std::function<void()> done) {
  const auto self = shared_from_this();
  if (released_) {  // a second DEL: both are told
    released_ = [first = std::move(released_), done = std::move(done)] { first(), done(); };
    return;
  }
  released_ = std::move(done);
  if (const Answer answer = std::exchange(answer_, nullptr))
    answer(makeError(Errc::kTryAgain, "the attachment was deleted meanwhile"));
  const bool reachable = openInterface() && (sockets_->interface.place == record_.place ||
                                             isSame(sockets_->interface, record_));
  if (reachable) release4();
  if (reachable && client6_ && client6_->lease()) {
    log("released " + client6_->lease()->address.text());
    perform(client6_->release(now()));
  } else {
    client6_.reset();
    finishRelease();
  }
  settle();
}

/// Once the DHCPv6 server has replied, or will not any more.
void Holding::finishRelease() {
  if (client6_ && client6_->state() != Client6::State::kIdle) return;
  const Result<void> removed = context_.store.remove(record_.order.key());
  if (!removed) log(removed.error().message);
  const auto done = std::exchange(released_, nullptr);
  end();
  done();
}

void Holding::end() {
  if (std::exchange(ending_, true)) return;
  client4_.reset();
  client6_.reset();
  closeSockets();
  context_.loop.cancel(this);
  ended_();
}

bool Holding::exchanging() const {
  const auto busy4 = [](Client4::State state) {
    return state != Client4::State::kIdle && state != Client4::State::kBound;
  };
  const auto busy6 = [](Client6::State state) {
    return state != Client6::State::kIdle && state != Client6::State::kBound;
  };
  return (client4_ && busy4(client4_->state())) || (client6_ && busy6(client6_->state()));
}

/// After anything: sockets are closed as soon as nobody is listened to, and the timer is set anew.
void Holding::settle() {
  if (ending_) return;
  if (!exchanging()) closeSockets();
  Instant next = std::min(closeAt_, retryAt_);
  if (retryAt_ == kNever) {
    if (client4_) next = std::min(next, client4_->deadline());
    if (client6_) next = std::min(next, client6_->deadline());
  }
  if (answer_ || released_)
    next = std::min(client4_ ? client4_->deadline() : kNever,
                    client6_ ? client6_->deadline() : kNever);
  context_.loop.schedule(this, next, [this] { onTimer(); });
}

}  // namespace culvert::ipam::dhcp
