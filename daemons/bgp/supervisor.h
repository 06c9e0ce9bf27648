#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/bgp/bird_config.h"
#include "daemons/bgp/bird_reply.h"
#include "daemons/bgp/classify.h"

namespace boost::asio {
class io_context;
}

namespace culvert::bgp {

/// Keeps BIRD's configuration at what is wanted. Starts and stops no process: BIRD has a unit of
/// its own (deploy/systemd/culvert-bird.service), so that it goes on when the daemon ends.
///
/// Each step: the text is written to a private file (0600, it holds passwords), BIRD checks that,
/// it becomes the configuration file, BIRD is told to read it. At most once in `minGap`, however
/// often something is wanted in between. A change that restarts more than a tenth of the sessions
/// goes in stages, each after the sessions of the one before are back, or `stageTime` has passed.
/// Of a configuration from before this object's life nothing is known but its text: the first
/// step, if it differs, is a single one.
class Supervisor {
 public:
  struct Options {
    std::string configFile = "/run/culvert/bird/bird.conf";  // its folder exists
    std::string socket = "/run/culvert/bird/bird.ctl";
    std::chrono::milliseconds minGap{200};
    std::chrono::milliseconds retryGap{1000};  // while BIRD does not run
    std::chrono::milliseconds stageTime{10'000};
  };

  struct State {
    bool running = false;  // BIRD answered last
    bool applied = false;  // BIRD has what is wanted
    std::size_t stagesLeft = 0;
    std::string error;           // why it is not applied, in BIRD's words where they are
    std::uint64_t reloads = 0;   // configurations BIRD took
    std::uint64_t refusals = 0;  // that it did not
    ChangeKind lastChange = ChangeKind::kNone;
  };

  /// `loop` must outlive this object.
  Supervisor(boost::asio::io_context& loop, Options options);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// The configuration BIRD should have, from now on. Returns at once.
  void want(BirdConfig config);
  const State& state() const;
  /// Called on the loop after each step that changed the state.
  void onState(std::function<void(const State&)> heard);
  /// How each session is: up since when, or why not; routes in and out.
  void peers(std::function<void(Result<std::vector<ProtocolStatus>>)> done);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

/// Whether the sessions with all neighbours known by address are established, or with those whose
/// names begin with `namePrefix`: for BgpInput::settled ("node" for a mesh, "reflector").
bool allEstablished(const BirdConfig& config, const std::vector<ProtocolStatus>& statuses,
                    std::string_view namePrefix = "");

}  // namespace culvert::bgp
