#pragma once

#include <memory>

#include "daemons/frame/handover.h"
#include "daemons/frame/load.h"

namespace culvert::frame {

/// One life of culvertd: opens its endpoints, starts its roles, and runs the one event loop until a
/// signal or a request ends it. Forwarding in the kernel stays as it is, however it ends.
///
/// SIGTERM, SIGINT: stop. SIGHUP: read the configuration again; the log's level takes effect, and
/// what needs a restart is named. POST /v1/restart on the control socket: hot restart.
class Daemon {
 public:
  enum class Exit { kStop, kRestart };

  /// `input` is how `loaded` was loaded, to load it again. `parts` must outlive the daemon.
  Daemon(const Parts& parts, ConfigInput input, Loaded loaded, Handover handover);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  /// An error if it could not start. SIGTERM, SIGINT and SIGHUP are unblocked meanwhile, and
  /// blocked again when it returns.
  Result<Exit> run();
  /// After kRestart: what the next life needs.
  Handover release();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// SIGTERM, SIGINT and SIGHUP wait (so that none gets lost, or kills, between two lives).
void blockSignals();

}  // namespace culvert::frame
