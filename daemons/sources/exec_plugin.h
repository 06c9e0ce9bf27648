#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "daemons/sources/kube_access.h"

namespace culvert::sources {

/// What an exec plug-in answers (ExecCredential.status).
struct ExecCredential {
  std::string token;
  std::string certificate, key;  // PEM
  std::optional<std::chrono::system_clock::time_point> expires;
};

Result<ExecCredential> parseExecCredential(const std::string& text, const std::string& apiVersion);

/// RFC 3339, whole seconds and UTC or an offset: "2026-01-31T12:00:00Z".
std::optional<std::chrono::system_clock::time_point> parseTime(const std::string& text);

/// Runs the plug-in once, and gives it a minute. The only process that culvertd ever executes, and
/// only because the operator's kubeconfig says so.
class ExecRun {
 public:
  using Done = std::function<void(Result<ExecCredential>)>;
  /// `done` is called later, from the loop, unless the object is destroyed before (which kills the
  /// process).
  static std::unique_ptr<ExecRun> start(boost::asio::io_context& io, const KubeAccess& access,
                                        Done done);
  virtual ~ExecRun() = default;
};

}  // namespace culvert::sources
