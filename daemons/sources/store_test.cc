#include "daemons/sources/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "daemons/sources/feed.h"

namespace culvert::sources {
namespace {

using testing::ElementsAre;

struct Colour {
  std::string name;
  bool operator==(const Colour&) const = default;
  static Result<Colour> parse(const Json& json) {
    if (!json.contains("colour")) return makeError(Errc::kInvalidConfig, "no colour");
    return Colour{json["colour"].get<std::string>()};
  }
};

class StoreTest : public testing::Test {
 protected:
  std::vector<std::string> seen;
  Store<Colour> store{[this](const Key& key, const Colour* before, const Colour* now) {
                        seen.push_back(key.text() + " " + (before ? before->name : "-") + ">" +
                                       (now ? now->name : "-"));
                      },
                      [this] { seen.emplace_back("complete"); }};
  void put(const std::string& name, const std::string& colour) {
    store.onObject({"", name}, {{"colour", colour}});
  }
};

TEST_F(StoreTest, TellsOfAddedChangedAndRemovedObjects) {
  put("a", "red");
  store.onComplete();
  put("a", "blue");
  store.onRemoved({"", "a"});
  EXPECT_THAT(seen, ElementsAre("a ->red", "complete", "a red>blue", "a blue>-"));
  EXPECT_TRUE(store.all().empty());
  EXPECT_TRUE(store.complete());
}

TEST_F(StoreTest, DropsAChangeThatLeavesTheObjectEqual) {
  put("a", "red");
  store.onObject({"", "a"}, {{"colour", "red"}, {"other", 1}});
  EXPECT_THAT(seen, ElementsAre("a ->red"));
}

TEST_F(StoreTest, KeepsTheLastGoodObjectAndSaysWhy) {
  put("a", "red");
  store.onObject({"", "a"}, {{"x", 1}});
  ASSERT_NE(store.find({"", "a"}), nullptr);
  EXPECT_EQ(store.find({"", "a"})->name, "red");
  EXPECT_EQ(store.problems().at({"", "a"}), "no colour, keeping the last good object");
  put("a", "red");
  EXPECT_TRUE(store.problems().empty());
  EXPECT_THAT(seen, ElementsAre("a ->red"));
}

TEST_F(StoreTest, ForgetsAMalformedObjectThatIsRemoved) {
  store.onObject({"", "a"}, {{"x", 1}});
  EXPECT_EQ(store.problems().at({"", "a"}), "no colour, ignored");
  store.onRemoved({"", "a"});
  EXPECT_TRUE(store.problems().empty());
  EXPECT_TRUE(seen.empty());
}

class FeedTest : public StoreTest {
 protected:
  Feed feed{store};
  void object(const std::string& name, const std::string& version, const std::string& colour) {
    feed.object({"", name}, version, {{"colour", colour}});
  }
};

TEST_F(FeedTest, CompletesOnceAndReportsOnlyDifferencesOfALaterList) {
  feed.beginList();
  object("a", "1", "red");
  object("b", "2", "red");
  object("c", "3", "red");
  feed.endList();
  feed.beginList();
  object("a", "1", "not looked at, being the same version");
  object("c", "4", "blue");
  feed.endList();
  EXPECT_THAT(seen,
              ElementsAre("a ->red", "b ->red", "c ->red", "complete", "c red>blue", "b red>-"));
}

TEST_F(FeedTest, RemovesNothingForAListThatBrokeOff) {
  feed.beginList();
  object("a", "1", "red");
  object("b", "2", "red");
  feed.endList();
  feed.beginList();
  object("a", "1", "red");
  feed.beginList();
  object("b", "2", "red");
  feed.keep({"", "a"});
  feed.endList();
  EXPECT_THAT(seen, ElementsAre("a ->red", "b ->red", "complete"));
  EXPECT_EQ(feed.size(), 2U);
}

TEST_F(FeedTest, IgnoresTheRemovalOfWhatNobodyWasToldOf) {
  feed.keep({"", "a"});
  feed.removed({"", "a"});
  EXPECT_TRUE(seen.empty());
}

}  // namespace
}  // namespace culvert::sources
