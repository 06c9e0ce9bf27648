#include "ipam/dhcp/client6.h"

namespace culvert::ipam::dhcp {
namespace {

// How long other servers may outbid the first ADVERTISE. RFC 8415 section 18.2.1 would have us wait
// a second in any case, with a container waiting for its address.
constexpr Duration kChoosing{100};
constexpr std::uint8_t kBestPreference = 255;
constexpr std::uint32_t kTransactionBits = 0xffffff;
constexpr Duration kMinSolicitMax{60'000}, kMaxSolicitMax{86'400'000};  // RFC 8415 section 21.24

Type6 typeOf(Client6::State state) {
  switch (state) {
    case Client6::State::kRequesting:
      return Type6::kRequest;
    case Client6::State::kRenewing:
      return Type6::kRenew;
    case Client6::State::kRebinding:
      return Type6::kRebind;
    case Client6::State::kReleasing:
      return Type6::kRelease;
    default:
      return Type6::kSolicit;
  }
}

}  // namespace

Message6 Client6::message(Instant now) const {
  Message6 out;
  out.type = typeOf(state_);
  out.transaction = transaction_;
  out.clientId = settings_.duid;
  if (state_ == State::kRequesting) out.serverId = offer_->serverId;
  if (state_ == State::kRenewing || state_ == State::kReleasing) out.serverId = lease_->serverId;
  Association association{.iaid = settings_.iaid, .entries = {}};
  if (wanted_) association.entries.push_back({.address = *wanted_});
  out.associations = {association};
  if (state_ != State::kReleasing)
    out.requested = {kOptionDnsServers6, kOptionDomainSearch6, kOptionSolicitMax};
  out.elapsedHundredths = static_cast<std::uint16_t>(
      std::clamp<std::int64_t>((now - began_).count() / 10, 0, UINT16_MAX));
  return out;
}

/// A new exchange: another transaction, and the pauses begin anew.
Client6::Step Client6::enter(State state, Instant now) {
  state_ = state;
  transaction_ = random_() & kTransactionBits;
  began_ = now;
  backoff_ = Backoff(std::min(settings_.retry.resendMax, solicitMax_), random_);
  chooseAt_ = kNever;
  return bound() ? maintain(now) : resend(now);
}

Client6::Step Client6::acquire(Instant now, const std::optional<IpAddress>& remembered) {
  wanted_ = remembered;
  lease_.reset();
  giveUpAt_ = now + settings_.retry.resendTimeout;
  return solicit(now);
}

Client6::Step Client6::solicit(Instant now) {
  offer_.reset();
  phaseEnds_ = kNever;
  return enter(State::kSoliciting, now);
}

void Client6::resume(const Lease6& lease) {
  lease_ = lease;
  wanted_ = lease.address.address();
  offer_.reset();
  state_ = State::kBound;
  giveUpAt_ = phaseEnds_ = chooseAt_ = kNever;
  deadline_ = lease.schedule.renewAt;
}

Client6::Step Client6::resend(Instant now) {
  resendAt_ = now + backoff_.next();
  deadline_ = std::min({resendAt_, phaseEnds_, giveUpAt_, chooseAt_});
  return {.send = {encode6(message(now))}};
}

/// RENEW or REBIND, and the pause after it.
Client6::Step Client6::maintain(Instant now) {
  const Schedule& schedule = lease_->schedule;
  const Instant until = state_ == State::kRenewing ? schedule.rebindAt : schedule.expiresAt;
  const Duration pause = renewalPause(now, until, schedule.expiresAt - schedule.renewAt);
  deadline_ = std::min(now + Backoff::jittered(pause, random_), until);
  return {.send = {encode6(message(now))}};
}

Client6::Step Client6::finish(Event event) {
  state_ = State::kIdle;
  deadline_ = kNever;
  return {.send = {}, .event = event};
}

Client6::Step Client6::onTimer(Instant now) {
  if (now < deadline_ || state_ == State::kIdle) return {};
  if (bound()) {
    if (now >= lease_->schedule.expiresAt) return finish(Event::kLost);
    const State due = now >= lease_->schedule.rebindAt ? State::kRebinding : State::kRenewing;
    return state_ == due ? maintain(now) : enter(due, now);
  }
  if (now >= giveUpAt_) {
    if (state_ == State::kReleasing) return finish(Event::kNone);
    return finish(lease_ ? Event::kLost : Event::kGaveUp);
  }
  if (now >= chooseAt_) {
    wanted_ = offer_->address.address();
    phaseEnds_ = std::min(now + settings_.retry.timeout, giveUpAt_);
    return enter(State::kRequesting, now);
  }
  if (now >= phaseEnds_) return solicit(now);  // the server that offered is silent
  return resend(now);
}

/// Whether an answer to what we last sent (RFC 8415 sections 16.3 and 16.10).
bool Client6::concerns(const Message6& message) const {
  return state_ != State::kIdle && state_ != State::kBound && message.transaction == transaction_ &&
         message.clientId == settings_.duid && !message.serverId.empty();
}

Client6::Step Client6::onMessage(const Message6& message, Instant now) {
  if (!concerns(message)) return {};
  if (message.solicitMaxSeconds) {
    const Duration said = std::chrono::seconds(*message.solicitMaxSeconds);
    if (said >= kMinSolicitMax && said <= kMaxSolicitMax) solicitMax_ = said;
  }
  if (message.type == Type6::kAdvertise && state_ == State::kSoliciting)
    return onAdvertise(message, now);
  if (message.type == Type6::kReply && state_ != State::kSoliciting) return onReply(message, now);
  return {};
}

Client6::Step Client6::onAdvertise(const Message6& message, Instant now) {
  const Result<Lease6> offered = readLease6(message, settings_.iaid, now);
  if (!offered) {
    complaint_ = "an advertisement had " + offered.error().message;
    return {};
  }
  // With a lease at stake, another address is of no use: the container has this one.
  if (lease_ && offered->address != lease_->address) return {};
  if (offer_ && message.preference <= preference_) return {};
  if (!offer_) chooseAt_ = now + kChoosing;
  if (message.preference == kBestPreference) chooseAt_ = now;
  offer_ = *offered;
  preference_ = message.preference;
  deadline_ = std::min({resendAt_, chooseAt_, giveUpAt_});
  return {};
}

Client6::Step Client6::onReply(const Message6& message, Instant now) {
  if (state_ == State::kReleasing) return finish(Event::kNone);
  if (state_ == State::kRequesting && message.serverId != offer_->serverId) return {};
  if (state_ == State::kRenewing && message.serverId != lease_->serverId) return {};
  Result<Lease6> granted = readLease6(message, settings_.iaid, now);
  if (!granted || granted->address.address() != *wanted_) {
    complaint_ = granted ? "a reply had another address" : "a reply had " + granted.error().message;
    if (!bound()) return {};
    // The server forgot the lease, or wants it back. It may still give the same address again.
    giveUpAt_ = std::min(now + settings_.retry.timeout, lease_->schedule.expiresAt);
    return solicit(now);
  }
  const bool renewal = lease_.has_value();
  resume(*granted);
  return {.send = {}, .event = renewal ? Event::kRenewed : Event::kBound};
}

Client6::Step Client6::release(Instant now) {
  if (!lease_) return finish(Event::kNone);
  wanted_ = lease_->address.address();
  phaseEnds_ = kNever;
  giveUpAt_ = now + kReleaseTime;
  return enter(State::kReleasing, now);
}

}  // namespace culvert::ipam::dhcp
