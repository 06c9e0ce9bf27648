#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipam/dhcp/backoff.h"
#include "ipam/dhcp/lease.h"
#include "ipam/dhcp/message4.h"

namespace culvert::ipam::dhcp {

/// The client's side of DHCP for one interface (RFC 2131 section 4.4), as a state machine without
/// input or output: it is told of messages and of time, and says what to send.
class Client4 {
 public:
  struct Settings {
    MacAddress mac;
    Options4 provide;  // sent with every message; option 61, the client identifier, among them
    std::vector<std::uint8_t> request;  // the parameter request list
    bool broadcast = false;             // the interface hears no unicast before it has an address
    Retry retry;
  };
  enum class State { kIdle, kRebooting, kSelecting, kRequesting, kBound, kRenewing, kRebinding };
  /// How a message goes out. Before there is an address, as a frame of our own making.
  enum class Via { kFrame, kUnicast, kBroadcast };
  struct Outgoing {
    std::string message;
    Via via = Via::kFrame;
    IpAddress to;  // kUnicast
  };
  struct Step {
    std::vector<Outgoing> send;
    Event event = Event::kNone;
  };

  Client4(Settings settings, Random random)
      : settings_(std::move(settings)), random_(std::move(random)) {}
  Client4(const Client4&) = delete;  // backoff_ points into it
  Client4& operator=(const Client4&) = delete;

  /// Begins: INIT, or INIT-REBOOT with an address `remembered` from earlier.
  Step acquire(Instant now, const std::optional<IpAddress>& remembered);
  /// Goes on with a lease that the interface has.
  void resume(const Lease4& lease, Instant now);
  Step onTimer(Instant now);
  /// `from` is the frame's source, if known.
  Step onMessage(const Message4& message, const std::optional<MacAddress>& from, Instant now);
  /// The RELEASE of the lease there is; nothing if there is none. The client is idle afterwards.
  std::optional<std::string> release();

  State state() const { return state_; }
  const std::optional<Lease4>& lease() const { return lease_; }
  /// When onTimer() is due; kNever if it is not.
  Instant deadline() const { return deadline_; }
  /// As the interface is now: a chained plugin may have changed its MAC.
  void setInterface(const MacAddress& mac, bool broadcast) {
    settings_.mac = mac;
    settings_.broadcast = broadcast;
  }
  /// Why the last answer could not be used, for whoever wonders why there is no lease.
  const std::string& complaint() const { return complaint_; }

 private:
  bool bound() const { return state_ >= State::kBound; }
  Message4 message(Type4 type, Instant now) const;
  Step discover(Instant now);
  Step resend(Instant now);
  Step renew(Instant now);
  Step rebind(Instant now);
  Step onOffer(const Message4& offer, Instant now);
  Step onAck(const Message4& ack, const std::optional<MacAddress>& from, Instant now);
  Step onNak(const Message4& nak, Instant now);
  Step finish(Event event);
  bool concerns(const Message4& message) const;
  Message4 selecting(Instant now) const;
  Message4 requesting(Instant now) const;
  Message4 rebooting(Instant now) const;
  void restartBackoff() { backoff_ = Backoff(settings_.retry.resendMax, random_); }

  Settings settings_;
  Random random_;
  State state_ = State::kIdle;
  Backoff backoff_;
  std::uint32_t xid_ = 0;
  Instant began_{}, deadline_ = kNever, giveUpAt_ = kNever, phaseEnds_ = kNever;
  std::optional<IpAddress> wanted_;  // asked for; the only one acceptable if a lease is at stake
  std::optional<Lease4> lease_;
  IpAddress offeredBy_;
  std::string complaint_;
};

}  // namespace culvert::ipam::dhcp
