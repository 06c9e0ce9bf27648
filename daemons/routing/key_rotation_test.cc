#include "daemons/routing/key_rotation.h"

#include <gtest/gtest.h>

namespace culvert::routing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using Time = KeyRotation::Time;

const KeyRotation kHourly{hours(1), "n1"};

/// So far into an even epoch.
Time at(Time::duration into) {
  return Time(hours(480000)) + into;
}

/// The moments that next() names from `from` on, within an epoch.
std::vector<Time> moments(const KeyRotation& rotation, Time from) {
  std::vector<Time> result;
  for (Time now = rotation.next(from); now <= from + rotation.period; now = rotation.next(now))
    result.push_back(now);
  return result;
}

TEST(KeyRotation, EverybodySendsByTheSameSlotByTurns) {
  for (const char* node : {"n1", "n2"}) {
    const KeyRotation rotation{hours(1), node};
    EXPECT_EQ(rotation.active(at(seconds(0))), 0U);
    EXPECT_EQ(rotation.active(at(seconds(3599))), 0U);
    EXPECT_EQ(rotation.active(at(seconds(3600))), 1U);
  }
}

TEST(KeyRotation, OnlyTheSlotAtRestGetsANewKeyAndOncePerEpoch) {
  const auto all = moments(kHourly, at(seconds(0)));
  ASSERT_EQ(all.size(), 3U) << "the replacement, the warm-up, the next epoch";
  const Time replacement = all[0];
  EXPECT_GE(replacement, at(minutes(15)));
  EXPECT_LT(replacement, at(minutes(30)));
  const Time old = at(-hours(1));
  EXPECT_FALSE(kHourly.isDue(1, old, replacement - milliseconds(1)));
  EXPECT_TRUE(kHourly.isDue(1, old, replacement));
  EXPECT_FALSE(kHourly.isDue(0, old, replacement)) << "everybody sends by it";
  EXPECT_FALSE(kHourly.isDue(1, replacement, replacement + seconds(1))) << "it is new";
  EXPECT_FALSE(kHourly.isDue(1, old, all[1])) << "too late for this epoch: nobody might know it";
}

TEST(KeyRotation, TheNextSlotWarmsUpBeforeItsTurn) {
  const auto all = moments(kHourly, at(seconds(0)));
  EXPECT_EQ(all[1], at(hours(1) - seconds(10)));
  EXPECT_FALSE(kHourly.isWarmingUp(all[1] - milliseconds(1)));
  EXPECT_TRUE(kHourly.isWarmingUp(all[1]));
  EXPECT_EQ(all[2], at(hours(1)));
  EXPECT_FALSE(kHourly.isWarmingUp(all[2]));
}

TEST(KeyRotation, NodesTakeTurns) {
  const KeyRotation other{hours(1), "n2"};
  EXPECT_NE(kHourly.next(at(seconds(0))), other.next(at(seconds(0))));
}

TEST(KeyRotation, WithoutAPeriodNothingEverHappens) {
  const KeyRotation off{seconds(0), "n1"};
  EXPECT_EQ(off.slots(), 1U);
  EXPECT_EQ(off.active(at(hours(1))), 0U);
  EXPECT_FALSE(off.isDue(0, Time(), at(hours(5))) || off.isWarmingUp(at(hours(5))));
  EXPECT_EQ(off.next(at(hours(5))), Time::max());
}

}  // namespace
}  // namespace culvert::routing
