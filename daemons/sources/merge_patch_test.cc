#include "daemons/sources/merge_patch.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

namespace culvert::sources {
namespace {

using nlohmann::json;

json anything(std::mt19937& random, int depth) {
  if (depth == 0 || random() % 3 == 0) return random() % 3;
  json object = json::object();
  for (unsigned i = 0; i < random() % 4; ++i) {
    object[std::string(1, static_cast<char>('a' + random() % 4))] = anything(random, depth - 1);
  }
  return object;
}

TEST(MergePatch, MakesOneObjectOfAnother) {
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    json from = {{"x", anything(random, 4)}};
    const json to = {{"x", anything(random, 4)}};
    ASSERT_EQ(applyMergePatch(from, diffMergePatch(from, to)), to) << from << to;
  }
}

TEST(MergePatch, HoldsOnlyTheDifference) {
  EXPECT_EQ(diffMergePatch({{"a", 1}, {"b", {{"c", 2}, {"d", 3}}}, {"e", 4}},
                           {{"a", 1}, {"b", {{"c", 2}, {"d", 5}}}}),
            (json{{"b", {{"d", 5}}}, {"e", nullptr}}));
}

TEST(MergePatch, RefusesWhatIsNoPatch) {
  EXPECT_FALSE(applyMergePatch(json::object(), 1));
  json deep = 1;
  for (int i = 0; i < 100; ++i)
    deep = {{"a", deep}};
  EXPECT_FALSE(applyMergePatch(json::object(), deep));
}

}  // namespace
}  // namespace culvert::sources
