#pragma once

#include "daemons/frame/control.h"
#include "daemons/frame/load.h"

namespace culvert::frame {

struct RunningRole {
  std::string name;
  std::unique_ptr<Role> role;
};

/// What the built-in requests need of the daemon.
class Lifecycle {
 public:
  virtual ~Lifecycle() = default;
  /// Whether a restart now would come up again: the configuration is right, the executable is
  /// there.
  virtual Result<void> checkRestart() = 0;
  /// Begins it, after the current request.
  virtual void restart() = 0;
  virtual const Loaded& loaded() const = 0;
  virtual const Log& log() const = 0;
  virtual unsigned generation() const = 0;
  virtual const nlohmann::json& addresses() const = 0;
  virtual const std::vector<RunningRole>& roles() const = 0;
  virtual const sources::Source* source() const = 0;
  virtual const std::vector<std::string>& restartNeeded() const = 0;
};

/// GET /v1/status, /v1/version, /v1/config, /v1/log; PUT /v1/log {"level": "debug"};
/// POST /v1/restart. docs/daemon.md describes their answers.
void registerBuiltins(Control& control, Lifecycle& daemon);

/// A copy in which values of keys that name secrets (password, token, secret, key data) are "***".
nlohmann::json withoutSecrets(const nlohmann::json& config);

/// The worst of the roles' and the source's: "ok", "starting", "degraded", "failed".
std::string overallState(const nlohmann::json& roles, const nlohmann::json& sources);

}  // namespace culvert::frame
