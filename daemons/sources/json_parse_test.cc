#include "daemons/sources/json_parse.h"

#include <gtest/gtest.h>

#include "cni/json.h"

namespace culvert::sources {
namespace {

using nlohmann::json;

TEST(ParseJson, IsWhatTheOtherParserSays) {
  for (const char* text :
       {R"({"a":[1,-1,1.5,true,null,"x\u00e9"],"b":{}})", R"({"a":1,"a":2})",
        "18446744073709551615", "-0", "1e3", R"("text")", "[]", "", "{", "[1,]", "nul", "1 2",
        "\xff", "1e400", "18446744073709551616", R"({"a":"\ud800"})"}) {
    const auto ours = parseJson(text), other = cni::parseJson(text);
    ASSERT_EQ(ours.has_value(), other.has_value()) << text;
    if (ours)
      EXPECT_EQ(*ours, *other) << text;
    else
      EXPECT_EQ(ours.error().message, other.error().message) << text;
  }
}

TEST(ParseJson, NestsAsDeepAsTheOtherParser) {
  for (const std::size_t depth : {63U, 64U, 65U}) {
    const std::string text = std::string(depth, '[') + std::string(depth, ']');
    EXPECT_EQ(parseJson(text).has_value(), cni::parseJson(text).has_value()) << depth;
  }
}

TEST(ParseJson, LeavesOutWhatTheApiServerKeepsForItself) {
  const char* text = R"({"metadata":{"name":"a","managedFields":[{"manager":"kubectl"}]},
                         "spec":{"managedFields":1}})";
  EXPECT_EQ(*parseJson(text),
            json::parse(R"({"metadata":{"name":"a"},"spec":{"managedFields":1}})"));
}

TEST(ParseItems, AreThoseOfAListOrTheDocument) {
  const auto list = parseItems(R"({"kind":"ServiceList","items":[{"a":1},{"a":2},{"a":1}]})");
  ASSERT_EQ(list->size(), 3U);
  EXPECT_EQ((*list)[1].value, json::parse(R"({"a":2})"));
  EXPECT_EQ((*list)[0].digest, (*list)[2].digest);
  EXPECT_NE((*list)[0].digest, (*list)[1].digest);
  EXPECT_EQ(parseItems(R"({"kind":"Service","items":[{}]})")->size(), 1U);
}

}  // namespace
}  // namespace culvert::sources
