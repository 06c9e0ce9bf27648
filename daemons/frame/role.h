#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/frame/config.h"
#include "daemons/frame/control.h"
#include "daemons/frame/health.h"
#include "daemons/frame/log.h"
#include "daemons/frame/metrics.h"
#include "daemons/frame/settings.h"
#include "daemons/sources/source.h"

namespace culvert::frame {

/// Something that is wrong, for a human: `what`, and the remedy: what to do about it.
struct Complaint {
  std::string what;
  std::string remedy;
};

/// How a role is doing. `culvertctl status` shows all of it.
struct RoleStatus {
  /// kStarting and kFailed make /readyz fail; kDegraded does its work, but somebody should look.
  enum class State { kOk, kStarting, kDegraded, kFailed };
  State state = State::kStarting;
  std::string summary;  // one line: "4 peers, 4 routes"
  /// An object. Plain values are shown as a list, lists of objects as tables ("peers": [...]).
  nlohmann::json facts = nlohmann::json::object();
  std::vector<Complaint> complaints;
};

std::string_view stateName(RoleStatus::State state);
nlohmann::json toJson(const RoleStatus& status);
/// A source's status, as /v1/status shows it.
nlohmann::json toJson(const sources::Status& status);

/// What the daemon gives to a role. All of it outlives the role.
struct RoleContext {
  boost::asio::io_context& loop;
  const Config& config;
  const Settings& settings;
  Log log;  // its lines carry role=NAME
  Metrics& metrics;
  Health& health;
  Control& control;
  sources::Source* source = nullptr;  // null if the configuration names none
};

/// One thing the daemon does: routing, services, policy, cni. Everything runs on the loop's thread;
/// nothing may block.
class Role {
 public:
  virtual ~Role() = default;
  /// Begins to work; what takes time goes on from the loop. An error ends the daemon.
  virtual Result<void> start() = 0;
  /// Ends work and calls `stopped` (at once, or later from the loop). The kernel keeps what is
  /// there: stopping is also the first half of a restart. The destructor follows.
  virtual void stop(std::function<void()> stopped) = 0;
  /// Cheap; asked by status, metrics and /readyz.
  virtual RoleStatus status() const = 0;
};

/// Hears of each thing that has been removed: "route 10.244.2.0/24".
using Removed = std::function<void(const std::string& what)>;

/// How the daemon comes to know a role: main.cc lists them.
struct RoleType {
  std::string name;
  std::vector<Key> keys;  // of its sections
  /// Reads its section and reports all that is wrong; no side effects. For start, --check, SIGHUP
  /// and before a hot restart.
  std::function<void(const Config&, const Settings&, cni::Problems&)> check;
  std::function<Result<std::unique_ptr<Role>>(const RoleContext&)> create;
  /// Removes what the role keeps on the host, in the kernel and on disk, and nothing else, whether
  /// the role is switched on or not. What is not there is fine. For --cleanup.
  std::function<Result<void>(const Config&, const Settings&, const Removed&)> cleanup = {};
};

/// Likewise for the one source.
struct SourceType {
  std::vector<Key> keys;
  std::function<void(const Config&, cni::Problems&)> check;
  /// Null if the configuration names no source.
  std::function<Result<std::unique_ptr<sources::Source>>(boost::asio::io_context&, const Config&)>
      open;
};

/// All that a daemon is made of.
struct Parts {
  std::vector<RoleType> roles;
  SourceType source;
};

}  // namespace culvert::frame
