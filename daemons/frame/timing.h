#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

namespace boost::asio {
class io_context;
}

namespace culvert::frame {

using SteadyTime = std::chrono::steady_clock::time_point;
using Millis = std::chrono::milliseconds;

/// One thing to be done at a time to come. The seam for tests of what waits.
class Alarm {
 public:
  virtual ~Alarm() = default;
  virtual SteadyTime now() const = 0;
  /// Calls `ring` at `when` or soon after it, from the loop, never from within set(). Replaces what
  /// was set before.
  virtual void set(SteadyTime when, std::function<void()> ring) = 0;
  virtual void cancel() = 0;
};

/// On the loop's timers. Cancelled when destroyed.
std::unique_ptr<Alarm> makeAlarm(boost::asio::io_context& loop);

/// How long to wait before trying again: doubling from `first` to `cap`, each time a random share
/// between a half and the whole of it, so that a thousand nodes do not come back at once.
class Backoff {
 public:
  struct Limits {
    Millis first{500};
    Millis cap{30'000};
    /// A try that began this long after the last failure starts again at `first`; 0: never, only
    /// succeeded() does.
    Millis forget{0};
  };
  using Random = std::function<double()>;  // [0, 1)
  using Clock = std::function<SteadyTime()>;

  explicit Backoff(Limits limits, Random random = {}, Clock clock = {});

  /// After a failure: the time to wait.
  Millis next();
  void succeeded() { failures_ = 0; }
  int failures() const { return failures_; }

 private:
  Limits limits_;
  Random random_;
  Clock clock_;
  int failures_ = 0;
  SteadyTime lastFailure_;
};

/// Turns any number of triggers into few runs: a run begins `settle` after the latest trigger, yet
/// not later than `maxDelay` after the first one, yet never sooner than `minGap` after the last run
/// began. A trigger during a run leads to another one. Nothing is scheduled while there is no
/// trigger.
class Debouncer {
 public:
  struct Limits {
    Millis settle{0};
    Millis minGap{0};
    Millis maxDelay{0};  // below `settle`, it counts instead of it
  };
  Debouncer(std::unique_ptr<Alarm> alarm, Limits limits, std::function<void()> run);

  void trigger();
  /// Forgets triggers whose run has not begun.
  void cancel();
  bool pending() const { return first_.has_value(); }

 private:
  SteadyTime due() const;
  void fire();

  std::unique_ptr<Alarm> alarm_;
  Limits limits_;
  std::function<void()> run_;
  std::optional<SteadyTime> first_;  // trigger not yet answered by a run
  SteadyTime latest_;
  SteadyTime scheduled_;
  std::optional<SteadyTime> lastRun_;
};

}  // namespace culvert::frame
