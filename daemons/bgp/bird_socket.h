#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/bgp/bird_reply.h"

namespace boost::asio {
class io_context;
}

namespace culvert::bgp {

/// BIRD's control socket, asynchronous on one loop. One connection, made when it is first needed
/// and again after it broke; commands wait in line, as BIRD takes one at a time.
///
/// Errors: kTryAgain: BIRD does not run (yet), went away, or took too long; kInvalidConfig: it
/// refused (its own words); kDecode: whatever listens there is not BIRD.
class BirdSocket {
 public:
  /// `loop` must outlive this object. `path` has up to 107 bytes (sockaddr_un).
  BirdSocket(boost::asio::io_context& loop, std::string path);
  /// Callbacks of what is under way are not called any more.
  ~BirdSocket();
  BirdSocket(const BirdSocket&) = delete;
  BirdSocket& operator=(const BirdSocket&) = delete;

  using Done = std::function<void(Result<void>)>;
  using DoneReply = std::function<void(Result<Reply>)>;

  /// Any command, one line. Callbacks come from the loop, never from within the call.
  void command(std::string line, DoneReply done);

  /// Whether `file` is a configuration that BIRD would take. It reads the file itself.
  void check(const std::string& file, Done done);
  /// Makes `file` BIRD's configuration. Done when BIRD has accepted it; sessions follow.
  void configure(const std::string& file, Done done);
  /// The same, but BIRD goes back to what it had unless confirm() follows within that time.
  void configureForNow(const std::string& file, std::chrono::seconds time, Done done);
  void confirm(Done done);
  /// Back to the configuration before.
  void undo(Done done);
  /// BIRD ends, and tells its peers nothing: they keep its routes until it is back (RFC 4724).
  /// The only way to stop it that costs no routes, but SIGKILL; SIGTERM withdraws them.
  void gracefulRestart(Done done);
  void status(std::function<void(Result<BirdStatus>)> done);
  /// `pattern` with * and ?; "*" for all. kNotFound if none matches.
  void protocols(const std::string& pattern,
                 std::function<void(Result<std::vector<ProtocolStatus>>)> done);

 private:
  class Connection;
  std::shared_ptr<Connection> connection_;
};

}  // namespace culvert::bgp
