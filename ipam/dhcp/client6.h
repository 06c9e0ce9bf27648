#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipam/dhcp/backoff.h"
#include "ipam/dhcp/lease.h"
#include "ipam/dhcp/message6.h"

namespace culvert::ipam::dhcp {

/// The client's side of stateful DHCPv6 for one address of one interface (RFC 8415 section 18.2),
/// as a state machine without input or output. Everything goes to ff02::1:2.
class Client6 {
 public:
  struct Settings {
    std::string duid;
    std::uint32_t iaid = 1;
    Retry retry;
  };
  enum class State { kIdle, kSoliciting, kRequesting, kBound, kRenewing, kRebinding, kReleasing };
  struct Step {
    std::vector<std::string> send;
    Event event = Event::kNone;
  };

  Client6(Settings settings, Random random)
      : settings_(std::move(settings)), random_(std::move(random)) {}
  Client6(const Client6&) = delete;  // backoff_ points into it
  Client6& operator=(const Client6&) = delete;

  /// Begins; `remembered` is asked for.
  Step acquire(Instant now, const std::optional<IpAddress>& remembered);
  /// Goes on with a lease that the interface has.
  void resume(const Lease6& lease);
  Step onTimer(Instant now);
  Step onMessage(const Message6& message, Instant now);
  /// Gives the address back, and repeats that until a server replies or `kReleaseTime` is over:
  /// then the client is idle.
  Step release(Instant now);
  static constexpr Duration kReleaseTime{1000};

  State state() const { return state_; }
  const std::optional<Lease6>& lease() const { return lease_; }
  Instant deadline() const { return deadline_; }
  const std::string& complaint() const { return complaint_; }

 private:
  bool bound() const { return state_ >= State::kBound && state_ <= State::kRebinding; }
  Step enter(State state, Instant now);
  Step solicit(Instant now);
  Step resend(Instant now);
  Step maintain(Instant now);
  Step onAdvertise(const Message6& message, Instant now);
  Step onReply(const Message6& message, Instant now);
  Step finish(Event event);
  bool concerns(const Message6& message) const;
  Message6 message(Instant now) const;

  Settings settings_;
  Random random_;
  State state_ = State::kIdle;
  Backoff backoff_;
  std::uint32_t transaction_ = 0;
  Instant began_{}, deadline_ = kNever, resendAt_ = kNever;
  Instant giveUpAt_ = kNever, phaseEnds_ = kNever, chooseAt_ = kNever;
  std::optional<IpAddress> wanted_;
  std::optional<Lease6> lease_, offer_;
  std::uint8_t preference_ = 0;  // of offer_
  Duration solicitMax_{3'600'000};
  std::string complaint_;
};

}  // namespace culvert::ipam::dhcp
