#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace culvert::frame {

/// Named checks behind /healthz, /livez and /readyz, with the answers of the Kubernetes API
/// server's. A live check fails when only a restart helps; a ready one while the node should not be
/// given work. Checks run when somebody asks, in order of registration, and must be cheap.
class Health {
 public:
  enum class Kind { kLive, kReady };
  using Check = std::function<Result<void>()>;

  void add(Kind kind, std::string name, Check check);
  /// Forgets a check, before what it looks at is gone.
  void remove(const std::string& name);

  struct Report {
    bool passed = true;
    std::string text;  // "ok", or a line for each check: "[+]name ok", "[-]name failed: why"
  };
  /// `endpoint`: "healthz" (all checks), "livez" or "readyz". A failure is always verbose.
  Report report(const std::string& endpoint, bool verbose) const;

 private:
  struct Entry {
    Kind kind;
    std::string name;
    Check check;
  };
  std::vector<Entry> checks_;
};

}  // namespace culvert::frame
