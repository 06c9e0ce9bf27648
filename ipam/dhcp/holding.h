#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ipam/dhcp/client4.h"
#include "ipam/dhcp/client6.h"
#include "ipam/dhcp/loop.h"
#include "ipam/dhcp/record.h"
#include "ipam/dhcp/transport.h"

namespace culvert::ipam::dhcp {

/// What all leases of a daemon share.
struct Context {
  Loop& loop;
  Store store;
  Retry retry;
  std::string hostPrefix;  // before namespaces' paths: the daemon may see the host below it
  bool broadcast = false;
  std::string bootId;
  Random random;
  std::function<void(const std::string&)> log;
};

/// One attachment's leases, from the first message to the last. Between exchanges it is a record
/// and a timer: no socket, no thread, nothing that would keep the namespace alive.
class Holding : public std::enable_shared_from_this<Holding> {
 public:
  using Answer = std::function<void(Result<Leases>)>;
  using Ended = std::function<void()>;

  /// `ended` is called once nothing is left to hold, and may destroy the holding.
  Holding(Context& context, Order order, Ended ended);
  ~Holding();
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;

  /// Acquires what the order wants; `remembered` are the leases that the attachment had before.
  /// Leases are on disk when `answer` is called. It is called exactly once, unless abandon() comes
  /// first.
  void acquire(const Leases& remembered, Answer answer);
  /// Goes on with leases from disk after the daemon was restarted.
  void adopt(Record record);
  /// Gives everything back and forgets it, then calls `done` and ends.
  void release(std::function<void()> done);
  /// Nobody waits for the answer of acquire() any more: as release().
  void abandon();
  /// Ends without a word to the server, leaving the record: the attachment gets a new holding. Only
  /// while leases() has a value.
  void forget();

  /// The leases, or kTryAgain while they are being acquired or released.
  Result<Leases> leases() const;
  const Order& order() const { return record_.order; }

 private:
  struct Sockets {
    Interface interface;
    UniqueFd frames4, udp4, udp6;
  };

  bool wantsBroadcast() const;
  void makeClients();
  Result<void> openInterface();
  Result<int> socketFor(Client4::Via via);
  void closeSockets();
  void closeSocket(UniqueFd& fd);
  Result<void> watch(const UniqueFd& fd, void (Holding::*ready)());
  void onFrames4();
  void onUdp4();
  void onUdp6();
  void handle4(const Received& received);
  void onTimer();
  void perform(const Client4::Step& step);
  void perform(const Client6::Step& step);
  Result<void> send(const Client4::Outgoing& outgoing);
  Result<void> send(const std::string& message6);
  void onEvent(Event event, Family family);
  void onAcquired();
  void onLost(Family family);
  void giveUp(const Error& error);
  bool checkStillOurs();
  void release4();
  void finishRelease();
  void end();
  void settle();
  bool exchanging() const;
  std::string name() const;
  void log(const std::string& what) const;

  Context& context_;
  Record record_;
  Ended ended_;
  std::unique_ptr<Client4> client4_;
  std::unique_ptr<Client6> client6_;
  std::optional<Sockets> sockets_;
  Answer answer_;
  std::function<void()> released_;
  Instant closeAt_ = kNever;  // when an exchange without an answer lets go of its sockets
  Instant retryAt_ = kNever;  // when the interface is looked for again after a failure
  bool ending_ = false;
};

}  // namespace culvert::ipam::dhcp
