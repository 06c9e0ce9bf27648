#include "daemons/sources/json_splitter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace culvert::sources {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

struct Outcome {
  std::vector<Json> objects;
  Json rest;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome split(const std::vector<std::string>& pieces, bool list,
              JsonSplitter::Limits limits = JsonSplitter::Limits()) {
  Outcome outcome;
  const auto sink = [&](Json&& object) -> Result<void> {
    outcome.objects.push_back(std::move(object));
    return {};
  };
  auto splitter =
      list ? JsonSplitter::list("items", sink, limits) : JsonSplitter::stream(sink, limits);
  for (const std::string& piece : pieces) {
    if (auto pushed = splitter.push(piece); !pushed) {
      outcome.error = pushed.error().message;
      return outcome;
    }
  }
  if (auto done = splitter.finish(); !done) outcome.error = done.error().message;
  outcome.rest = splitter.rest();
  return outcome;
}

const std::string kList =
    R"({"kind":"NodeList","metadata":{"resourceVersion":"7","items":[1]},"items":[ {"a":"}]\"{"},)"
    "\n"
    R"({"b":[{"items":[{}]},[]]} , {}],"z":"items"} )";

TEST(JsonSplitter, YieldsAListsElementsAndTheRest) {
  const Outcome outcome = split({kList}, true);
  EXPECT_EQ(outcome.error, "");
  EXPECT_THAT(outcome.objects,
              ElementsAre(Json::parse(R"({"a":"}]\"{"})"),
                          Json::parse(R"({"b":[{"items":[{}]},[]]})"), Json::object()));
  EXPECT_EQ(outcome.rest["metadata"]["resourceVersion"], "7");
  EXPECT_EQ(outcome.rest["items"], Json::array());
}

TEST(JsonSplitter, TakesListsWithoutElements) {
  EXPECT_EQ(split({R"({"items":null})"}, true).error, "");
  EXPECT_EQ(split({R"({"items":[]})"}, true).error, "");
  EXPECT_EQ(split({R"({})"}, true).error, "");
}

TEST(JsonSplitter, YieldsAStreamsObjects) {
  const Outcome outcome = split({"{\"a\":1}\n{\"b\":{}}\r\n", " {}{}"}, false);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.objects.size(), 4U);
}

TEST(JsonSplitter, YieldsTheSameHoweverTheBytesArrive) {
  std::mt19937 random(7);
  const std::string stream = R"({"a":"\\\"","b":[1,2,{"c":"\u00e9é"}]} {"d":null}{"e":-1.5e3})";
  for (const bool list : {true, false}) {
    const std::string& text = list ? kList : stream;
    const Outcome whole = split({text}, list);
    ASSERT_EQ(whole.error, "");
    for (std::size_t round = 0; round < 2000; ++round) {
      std::vector<std::string> pieces;
      for (std::size_t at = 0; at < text.size(); at += pieces.back().size()) {
        pieces.push_back(text.substr(at, 1 + random() % (round % 30 + 1)));
      }
      ASSERT_EQ(split(pieces, list), whole);
    }
  }
}

TEST(JsonSplitter, SaysThatAnAnswerWasCutShortWhereverThatHappened) {
  const std::string text = kList.substr(0, kList.size() - 1);
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_NE(split({text.substr(0, length)}, true).error, "") << length;
  }
}

TEST(JsonSplitter, RefusesWhatIsNoJson) {
  for (const char* text : {R"([])", R"({"items":[1]})", R"({"items":[{},]})", R"({"items":[,{}]})",
                           R"({"items":[{}{}]})", R"({"items":[{]})", R"({"items":[{"a":}]})",
                           R"({"items":[]}{})", R"({"items":[]]})", R"({"items":[],"items":[]})"}) {
    EXPECT_NE(split({text}, true).error, "") << text;
  }
  for (const char* text : {"{} x", "[]", "{\"a\":tru}", "{\"a\":1]", "}"}) {
    EXPECT_NE(split({text}, false).error, "") << text;
  }
}

TEST(JsonSplitter, BoundsDepthAndSize) {
  const JsonSplitter::Limits limits{.objectBytes = 50, .restBytes = 60, .depth = 5};
  EXPECT_EQ(split({R"({"a":[[[[]]]]})"}, false, limits).error, "");
  EXPECT_THAT(split({R"({"a":[[[[[]]]]]})"}, false, limits).error, HasSubstr("5 deep"));
  const std::string large = R"({"a":")" + std::string(60, 'x') + R"("})";
  EXPECT_THAT(split({large}, false, limits).error, HasSubstr("more than 50 bytes"));
  EXPECT_THAT(split({R"({"items":[],"b":)" + large}, true, limits).error,
              HasSubstr("more than 60 bytes"));
  std::string many = R"({"items":[{})";
  for (int i = 0; i < 1000; ++i)
    many += ",{}";
  EXPECT_EQ(split({many + "]}"}, true, limits).objects.size(), 1001U);
}

TEST(JsonSplitter, StopsWhenTheSinkDoes) {
  auto splitter = JsonSplitter::stream(
      [](Json&&) -> Result<void> { return makeError(Errc::kConflict, "enough"); });
  EXPECT_EQ(splitter.push("{}").error().code, Errc::kConflict);
}

}  // namespace
}  // namespace culvert::sources
