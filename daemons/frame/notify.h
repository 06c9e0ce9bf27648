#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::frame {

/// The service manager's protocol, sd_notify(3): datagrams of VARIABLE=value lines to the Unix
/// socket that $NOTIFY_SOCKET names ("@name": the abstract namespace). Says nothing to nobody if
/// the variable is not set; what cannot be delivered is dropped, as sd_notify(3) advises.
class Notifier {
 public:
  /// `socket`: the variable's value, or empty.
  explicit Notifier(std::string socket) : socket_(std::move(socket)) {}
  static Notifier fromEnvironment();

  void ready() const { send("READY=1"); }
  void stopping() const { send("STOPPING=1"); }
  /// With MONOTONIC_USEC, as Type=notify-reload wants it; ready() ends it.
  void reloading() const;
  /// One line for `systemctl status`.
  void status(std::string_view text) const;
  void alive() const { send("WATCHDOG=1"); }

  /// How often alive() has to be called, half of $WATCHDOG_USEC, if it is meant for this process
  /// ($WATCHDOG_PID, sd_watchdog_enabled(3)).
  static std::optional<std::chrono::microseconds> watchdogInterval();

 private:
  void send(std::string_view text) const;
  std::string socket_;
};

}  // namespace culvert::frame
