#include "daemons/frame/timing.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cmath>
#include <random>

namespace culvert::frame {
namespace {

class LoopAlarm : public Alarm {
 public:
  explicit LoopAlarm(boost::asio::io_context& loop) : timer_(loop) {}

  SteadyTime now() const override { return std::chrono::steady_clock::now(); }

  void set(SteadyTime when, std::function<void()> ring) override {
    timer_.expires_at(when);
    timer_.async_wait([ring = std::move(ring), turn = newTurn()](boost::system::error_code error) {
      if (!error && !turn.expired()) ring();
    });
  }

  void cancel() override {
    turn_.reset();
    timer_.cancel();
  }

 private:
  /// A timer that has expired cannot be cancelled when its handler is queued already; the handler
  /// sees by this that it is late.
  std::weak_ptr<int> newTurn() {
    turn_ = std::make_shared<int>();
    return turn_;
  }

  boost::asio::steady_timer timer_;
  std::shared_ptr<int> turn_;
};

double systemRandom() {
  static std::minstd_rand generator{std::random_device{}()};
  return std::generate_canonical<double, 32>(generator);
}

}  // namespace

std::unique_ptr<Alarm> makeAlarm(boost::asio::io_context& loop) {
  return std::make_unique<LoopAlarm>(loop);
}

Backoff::Backoff(Limits limits, Random random, Clock clock)
    : limits_(limits), random_(std::move(random)), clock_(std::move(clock)) {
  if (!random_) random_ = systemRandom;
  if (!clock_) clock_ = [] { return std::chrono::steady_clock::now(); };
}

Millis Backoff::next() {
  const SteadyTime now = clock_();
  const bool forgotten = limits_.forget.count() > 0 && now - lastFailure_ > limits_.forget;
  if (failures_ > 0 && forgotten) failures_ = 0;
  lastFailure_ = now;
  const double doublings = std::min(failures_++, 40);
  const double whole = std::min(static_cast<double>(limits_.first.count()) * std::exp2(doublings),
                                static_cast<double>(limits_.cap.count()));
  return Millis(static_cast<Millis::rep>(whole * (0.5 + random_() / 2)));
}

Debouncer::Debouncer(std::unique_ptr<Alarm> alarm, Limits limits, std::function<void()> run)
    : alarm_(std::move(alarm)), limits_(limits), run_(std::move(run)) {}

void Debouncer::trigger() {
  latest_ = alarm_->now();
  const bool waiting = first_.has_value();
  if (!waiting) first_ = latest_;
  const SteadyTime when = due();
  if (waiting && when == scheduled_) return;
  scheduled_ = when;
  alarm_->set(when, [this] { fire(); });
}

void Debouncer::cancel() {
  first_.reset();
  alarm_->cancel();
}

SteadyTime Debouncer::due() const {
  const bool settles = limits_.settle.count() > 0;
  const SteadyTime settled =
      settles ? std::min(latest_ + limits_.settle, *first_ + limits_.maxDelay) : *first_;
  return lastRun_ ? std::max(settled, *lastRun_ + limits_.minGap) : settled;
}

void Debouncer::fire() {
  first_.reset();
  lastRun_ = alarm_->now();
  run_();
}

}  // namespace culvert::frame
