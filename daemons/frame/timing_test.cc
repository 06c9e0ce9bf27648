#include "daemons/frame/timing.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>

namespace culvert::frame {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

/// Time that passes only when the test says so.
struct Time {
  SteadyTime now{1h};
  std::optional<SteadyTime> due;
  std::function<void()> ring;

  void pass(Millis time) {
    const SteadyTime until = now + time;
    while (due && *due <= until) {
      now = std::max(now, *due);
      due.reset();
      std::exchange(ring, nullptr)();
    }
    now = until;
  }
};

class FakeAlarm : public Alarm {
 public:
  explicit FakeAlarm(Time& time) : time_(&time) {}
  SteadyTime now() const override { return time_->now; }
  void set(SteadyTime when, std::function<void()> ring) override {
    time_->due = when;
    time_->ring = std::move(ring);
  }
  void cancel() override { time_->due.reset(); }

 private:
  Time* time_;
};

struct Runs {
  explicit Runs(Debouncer::Limits limits)
      : debouncer(std::make_unique<FakeAlarm>(time), limits,
                  [this] { at.push_back((time.now - SteadyTime(1h)) / 1ms); }) {}
  Time time;
  std::vector<long> at;
  Debouncer debouncer;
};

TEST(Debouncer, RunsOnceForABurst) {
  Runs runs({.settle = 50ms, .minGap = 0ms, .maxDelay = 1000ms});
  for (int i = 0; i < 5; ++i) {
    runs.debouncer.trigger();
    runs.time.pass(10ms);
  }
  runs.time.pass(1000ms);
  EXPECT_THAT(runs.at, ElementsAre(90));
  EXPECT_FALSE(runs.debouncer.pending());
}

TEST(Debouncer, DoesNotWaitLongerThanMaxDelay) {
  Runs runs({.settle = 50ms, .minGap = 0ms, .maxDelay = 120ms});
  for (int i = 0; i < 30; ++i) {
    runs.debouncer.trigger();
    runs.time.pass(10ms);
  }
  runs.time.pass(1000ms);
  EXPECT_THAT(runs.at, ElementsAre(120, 240, 340));
}

TEST(Debouncer, KeepsTheGapEvenAgainstMaxDelay) {
  Runs runs({.settle = 0ms, .minGap = 200ms, .maxDelay = 10ms});
  for (int i = 0; i < 50; ++i) {
    runs.debouncer.trigger();
    runs.time.pass(10ms);
  }
  runs.time.pass(1000ms);
  EXPECT_THAT(runs.at, ElementsAre(0, 200, 400, 600));
}

TEST(Debouncer, RunsAgainForATriggerDuringARun) {
  Time time;
  int count = 0;
  Debouncer* self = nullptr;
  Debouncer debouncer(std::make_unique<FakeAlarm>(time), {}, [&] {
    if (++count < 3) self->trigger();
  });
  self = &debouncer;
  debouncer.trigger();
  time.pass(1ms);
  EXPECT_EQ(count, 3);
  EXPECT_FALSE(time.due) << "nothing may be scheduled without a trigger";
}

TEST(Debouncer, ForgetsWhatWasCancelled) {
  Runs runs({.settle = 50ms, .minGap = 0ms, .maxDelay = 50ms});
  runs.debouncer.trigger();
  runs.debouncer.cancel();
  runs.time.pass(1000ms);
  EXPECT_TRUE(runs.at.empty());
}

TEST(Debouncer, RunsOnARealLoop) {
  boost::asio::io_context loop;
  int count = 0;
  Debouncer debouncer(makeAlarm(loop), {.settle = 1ms, .minGap = 0ms, .maxDelay = 5ms},
                      [&] { ++count; });
  debouncer.trigger();
  debouncer.trigger();
  loop.run();
  EXPECT_EQ(count, 1);
}

TEST(Alarm, DoesNotRingAfterCancelOrDestruction) {
  boost::asio::io_context loop;
  bool rang = false;
  auto alarm = makeAlarm(loop);
  alarm->set(alarm->now() - 1s, [&] { rang = true; });
  alarm->cancel();
  loop.run();
  alarm->set(alarm->now() - 1s, [&] { rang = true; });
  alarm.reset();
  loop.restart();
  loop.run();
  EXPECT_FALSE(rang);
}

TEST(Backoff, DoublesUpToItsCap) {
  Backoff backoff({.first = 100ms, .cap = 1000ms}, [] { return 0.999999; });
  std::vector<long> waits;
  waits.reserve(6);
  for (int i = 0; i < 6; ++i)
    waits.push_back(backoff.next().count());
  EXPECT_THAT(waits, ElementsAre(99, 199, 399, 799, 999, 999));
  for (int i = 0; i < 10'000; ++i)
    EXPECT_LE(backoff.next(), 1000ms);
  backoff.succeeded();
  EXPECT_EQ(backoff.next().count(), 99);
}

TEST(Backoff, JittersBetweenHalfAndWhole) {
  Backoff low({.first = 100ms, .cap = 1000ms}, [] { return 0.0; });
  EXPECT_EQ(low.next(), 50ms);
  Backoff real({.first = 100ms, .cap = 100ms});
  for (int i = 0; i < 1000; ++i) {
    const auto wait = real.next();
    EXPECT_GE(wait, 50ms);
    EXPECT_LE(wait, 100ms);
  }
}

TEST(Backoff, ForgetsFailuresOfLongAgo) {
  SteadyTime now{};
  Backoff backoff(
      {.first = 100ms, .cap = 1000ms, .forget = 10s}, [] { return 0.0; }, [&] { return now; });
  backoff.next();
  now += 1s;
  EXPECT_EQ(backoff.next(), 100ms);
  now += 11s;
  EXPECT_EQ(backoff.next(), 50ms);
}

}  // namespace
}  // namespace culvert::frame
