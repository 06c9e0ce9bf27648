#include "daemons/frame/log.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace culvert::frame {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::MatchesRegex;

struct Captured {
  std::vector<std::string> lines;
  Log log(LogFormat format, Level level = Level::kInfo) {
    return Log(format, level, [this](std::string_view line) { lines.emplace_back(line); });
  }
};

TEST(Log, WritesTextWithFields) {
  Captured captured;
  captured.log(LogFormat::kText)
      .with("role", "routing")
      .info("peer added", {{"peer", "node-2"}, {"mtu", 1450}, {"direct", true}, {"why", "a b"}});
  ASSERT_EQ(captured.lines.size(), 1U);
  EXPECT_THAT(captured.lines[0],
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z info peer added "
                           "role=routing peer=node-2 mtu=1450 direct=true why=\"a b\""));
}

TEST(Log, WritesOneJsonObjectALine) {
  Captured captured;
  captured.log(LogFormat::kJson).error("it \"broke\"\n", {{"code", 5}, {"bytes", "\xff\n"}});
  const auto line = nlohmann::json::parse(captured.lines.at(0));
  EXPECT_EQ(line["level"], "error");
  EXPECT_EQ(line["message"], "it \"broke\"\n");
  EXPECT_EQ(line["code"], 5);
  EXPECT_EQ(captured.lines[0].find('\n'), std::string::npos);
}

TEST(Log, KeepsALineOneLineWhateverIsInIt) {
  Captured captured;
  captured.log(LogFormat::kText).info("a\nb", {{"x", "c\nd"}, {"y", ""}, {"z", "p=q"}});
  EXPECT_THAT(captured.lines.at(0), EndsWith(" info \"a\\nb\" x=\"c\\nd\" y=\"\" z=\"p=q\""));
}

TEST(Log, ChangesItsLevelForAllCopies) {
  Captured captured;
  const Log log = captured.log(LogFormat::kText);
  const Log copy = log.with("role", "x");
  copy.debug("unheard");
  log.setLevel(Level::kDebug);
  copy.debug("heard");
  EXPECT_EQ(captured.lines.size(), 1U);
  EXPECT_EQ(copy.level(), Level::kDebug);
}

TEST(Log, LogsARepeatedCauseOnce) {
  Captured captured;
  const Log log = captured.log(LogFormat::kText);
  for (int i = 0; i < 10'000; ++i)
    log.limited(Level::kWarning, "malformed", "malformed object", {{"number", i}});
  log.limited(Level::kWarning, "other", "another cause");
  EXPECT_EQ(captured.lines.size(), 2U);
}

TEST(LogLevel, HasANameForEach) {
  for (const Level level :
       {Level::kTrace, Level::kDebug, Level::kInfo, Level::kWarning, Level::kError})
    EXPECT_EQ(parseLevel(levelName(level)), level);
  EXPECT_FALSE(parseLevel("loud"));
}

TEST(RepeatLimiter, CountsWhatItHeldBack) {
  std::chrono::steady_clock::time_point now{};
  RepeatLimiter limiter(10s, [&] { return now; });
  EXPECT_EQ(limiter.admit("a"), 0U);
  EXPECT_EQ(limiter.admit("a"), std::nullopt);
  EXPECT_EQ(limiter.admit("b"), 0U);
  now += 9s;
  EXPECT_EQ(limiter.admit("a"), std::nullopt);
  now += 1s;
  EXPECT_EQ(limiter.admit("a"), 2U);
  now += 10s;
  EXPECT_EQ(limiter.admit("a"), 0U);
}

TEST(RepeatLimiter, ForgetsTheOldestOfTooManyCauses) {
  std::chrono::steady_clock::time_point now{};
  RepeatLimiter limiter(10s, [&] { return now; });
  for (int i = 0; i < 1001; ++i)
    limiter.admit(std::to_string(i));
  EXPECT_EQ(limiter.admit("1000"), std::nullopt);
  EXPECT_EQ(limiter.admit("0"), 0U);  // as if it had never been seen
}

}  // namespace
}  // namespace culvert::frame
