#include "ipam/dhcp/client4.h"

#include "ipam/dhcp/bytes.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr std::uint16_t kMaxMessage = 1500;

std::string addressValue(const IpAddress& address) {
  return std::string(asBytes(address.bytes(), address.size()));
}

}  // namespace

Message4 Client4::message(Type4 type, Instant now) const {
  Message4 out{.xid = xid_,
               .seconds = static_cast<std::uint16_t>(
                   std::clamp<std::int64_t>((now - began_).count() / 1000, 0, UINT16_MAX)),
               .broadcast = settings_.broadcast,
               .hardware = settings_.mac,
               .options = settings_.provide};
  out.options[kMessageType] = std::string(1, static_cast<char>(type));
  if (type == Type4::kRelease) return out;
  put16(out.options[kMaxMessageSize], kMaxMessage);
  if (!settings_.request.empty())
    out.options[kParameterRequestList] =
        asBytes(settings_.request.data(), settings_.request.size());
  return out;
}

Message4 Client4::selecting(Instant now) const {
  Message4 out = message(Type4::kDiscover, now);
  if (wanted_) out.options[kRequestedAddress] = addressValue(*wanted_);
  return out;
}

Message4 Client4::requesting(Instant now) const {
  Message4 out = message(Type4::kRequest, now);
  out.options[kRequestedAddress] = addressValue(*wanted_);
  out.options[kServerIdentifier] = addressValue(offeredBy_);
  return out;
}

Message4 Client4::rebooting(Instant now) const {
  Message4 out = message(Type4::kRequest, now);
  out.options[kRequestedAddress] = addressValue(*wanted_);
  return out;
}

Client4::Step Client4::acquire(Instant now, const std::optional<IpAddress>& remembered) {
  wanted_ = remembered;
  giveUpAt_ = now + settings_.retry.resendTimeout;
  began_ = now;
  lease_.reset();
  if (!remembered) return discover(now);
  xid_ = random_();
  state_ = State::kRebooting;
  phaseEnds_ = std::min(now + settings_.retry.timeout, giveUpAt_);
  restartBackoff();
  return resend(now);
}

void Client4::resume(const Lease4& lease, Instant now) {
  lease_ = lease;
  wanted_ = lease.address.address();
  state_ = State::kBound;
  began_ = now;
  giveUpAt_ = phaseEnds_ = kNever;
  deadline_ = lease.schedule.renewAt;
}

Client4::Step Client4::discover(Instant now) {
  xid_ = random_();
  state_ = State::kSelecting;
  phaseEnds_ = kNever;
  restartBackoff();
  return resend(now);
}

/// Sends the message of the present state again, as a frame, and pauses.
Client4::Step Client4::resend(Instant now) {
  const Message4 out = state_ == State::kSelecting    ? selecting(now)
                       : state_ == State::kRequesting ? requesting(now)
                                                      : rebooting(now);
  deadline_ = std::min({now + backoff_.next(), phaseEnds_, giveUpAt_});
  return {.send = {{.message = encode4(out), .via = Via::kFrame, .to = {}}}};
}

Client4::Step Client4::renew(Instant now) {
  if (state_ != State::kRenewing) xid_ = random_(), began_ = now;
  state_ = State::kRenewing;
  const Schedule& schedule = lease_->schedule;
  const Duration pause =
      renewalPause(now, schedule.rebindAt, schedule.expiresAt - schedule.renewAt);
  deadline_ = std::min(now + Backoff::jittered(pause, random_), schedule.rebindAt);
  Message4 out = message(Type4::kRequest, now);
  out.clientAddress = lease_->address.address();
  return {.send = {{.message = encode4(out), .via = Via::kUnicast, .to = lease_->server}}};
}

Client4::Step Client4::rebind(Instant now) {
  if (state_ != State::kRebinding) xid_ = random_();
  state_ = State::kRebinding;
  const Schedule& schedule = lease_->schedule;
  const Duration pause =
      renewalPause(now, schedule.expiresAt, schedule.expiresAt - schedule.renewAt);
  deadline_ = std::min(now + Backoff::jittered(pause, random_), schedule.expiresAt);
  Message4 out = message(Type4::kRequest, now);
  out.clientAddress = lease_->address.address();
  return {.send = {{.message = encode4(out), .via = Via::kBroadcast, .to = {}}}};
}

Client4::Step Client4::finish(Event event) {
  state_ = State::kIdle;
  deadline_ = kNever;
  return {.send = {}, .event = event};
}

Client4::Step Client4::onTimer(Instant now) {
  if (now < deadline_) return {};
  if (state_ == State::kIdle) return {};
  if (bound()) {
    if (now >= lease_->schedule.expiresAt) return finish(Event::kLost);
    if (now >= lease_->schedule.rebindAt) return rebind(now);
    return renew(now);
  }
  if (now >= giveUpAt_) return finish(lease_ ? Event::kLost : Event::kGaveUp);
  if (now >= phaseEnds_) return discover(now);  // nobody confirmed
  return resend(now);
}

/// Whether an answer to what we last sent: anything else may come from anybody at any time.
bool Client4::concerns(const Message4& message) const {
  return message.fromServer && message.xid == xid_ && message.hardware == settings_.mac &&
         state_ != State::kIdle && state_ != State::kBound;
}

Client4::Step Client4::onMessage(const Message4& message, const std::optional<MacAddress>& from,
                                 Instant now) {
  if (!concerns(message)) return {};
  const Type4 type = *message.type();
  if (type == Type4::kOffer && state_ == State::kSelecting) return onOffer(message, now);
  if (type == Type4::kAck && state_ != State::kSelecting) return onAck(message, from, now);
  if (type == Type4::kNak && state_ != State::kSelecting) return onNak(message, now);
  return {};
}

Client4::Step Client4::onOffer(const Message4& offer, Instant now) {
  const Result<Lease4> offered = readLease4(offer, now);
  if (!offered) {
    complaint_ = "an offer had " + offered.error().message;
    return {};
  }
  // With a lease at stake, another address is of no use: the container has this one.
  if (lease_ && offer.yourAddress != lease_->address.address()) return {};
  wanted_ = offer.yourAddress;
  offeredBy_ = offered->server;
  state_ = State::kRequesting;
  phaseEnds_ = std::min(now + settings_.retry.timeout, giveUpAt_);
  restartBackoff();
  return resend(now);
}

Client4::Step Client4::onAck(const Message4& ack, const std::optional<MacAddress>& from,
                             Instant now) {
  Result<Lease4> granted = readLease4(ack, now);
  if (!granted) {
    complaint_ = "an acknowledgement had " + granted.error().message;
    return {};
  }
  if (granted->address.address() != *wanted_) return {};
  if (state_ == State::kRequesting && granted->server != offeredBy_) return {};
  if (state_ == State::kRenewing && granted->server != lease_->server) return {};
  granted->serverMac = from || !lease_ ? from : lease_->serverMac;
  const bool renewal = lease_.has_value();
  // RFC 2131 section 4.4.5: some fuzz, so that clients do not all come at once.
  Schedule& schedule = granted->schedule;
  if (schedule.renewAt != kNever) {
    const auto spread = static_cast<std::uint64_t>((schedule.renewAt - now).count() / 20 + 1);
    schedule.renewAt -= Duration(random_() % spread);
  }
  resume(*granted, now);
  return {.send = {}, .event = renewal ? Event::kRenewed : Event::kBound};
}

Client4::Step Client4::onNak(const Message4& nak, Instant now) {
  const auto server = nak.addressOption(kServerIdentifier);
  if (!server) return {};
  if (state_ == State::kRequesting && *server != offeredBy_) return {};
  if (state_ == State::kRenewing && *server != lease_->server) return {};
  complaint_ = "server " + server->text() + " refused " + wanted_->text();
  if (state_ == State::kRebooting || (!lease_ && state_ == State::kRequesting)) {
    wanted_.reset();
    return discover(now);
  }
  if (!bound()) return discover(now);
  // The server forgot the lease. It may still give the address again: the only one of use.
  giveUpAt_ = std::min(now + settings_.retry.timeout, lease_->schedule.expiresAt);
  began_ = now;
  return discover(now);
}

std::optional<std::string> Client4::release() {
  if (!lease_) return std::nullopt;
  xid_ = random_();
  Message4 out = message(Type4::kRelease, began_);
  // RFC 2131 table 5: identifier of client and server, and none of the parameters.
  std::erase_if(out.options, [](const auto& option) {
    return option.first != kMessageType && option.first != kClientIdentifier;
  });
  out.clientAddress = lease_->address.address();
  out.options[kServerIdentifier] = addressValue(lease_->server);
  out.broadcast = false;
  static_cast<void>(finish(Event::kNone));
  return encode4(out);
}

}  // namespace culvert::ipam::dhcp
