#include "daemons/objects/selector.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

namespace culvert::objects {
namespace {

const Labels kLabels{{"zone", "a"}, {"role", "route-reflector"}, {"example.com/rack", "r1"}};

struct Case {
  const char* expression;
  bool matches;
};

class SelectorMatch : public testing::TestWithParam<Case> {};

TEST_P(SelectorMatch, AgreesWithTheExpressionAndWithItsCanonicalText) {
  const auto selector = Selector::parse(GetParam().expression);
  ASSERT_TRUE(selector) << selector.error().message;
  EXPECT_EQ(selector->matches(kLabels), GetParam().matches) << selector->text();
  const auto again = Selector::parse(selector->text());
  ASSERT_TRUE(again) << selector->text();
  EXPECT_EQ(*again, *selector);
  EXPECT_EQ(again->matches(kLabels), GetParam().matches);
}

INSTANTIATE_TEST_SUITE_P(
    Expressions, SelectorMatch,
    testing::Values(
        Case{"", true}, Case{"  ", true}, Case{"all()", true}, Case{"!all()", false},
        Case{"global()", true}, Case{"has(zone)", true}, Case{"has(rack)", false},
        Case{"!has(rack)", true}, Case{"! has( zone )", false}, Case{"zone == 'a'", true},
        Case{"zone==\"a\"", true}, Case{"zone == 'b'", false}, Case{"zone != 'b'", true},
        Case{"zone != 'a'", false}, Case{"absent != 'a'", true}, Case{"absent == ''", false},
        Case{"zone in {'a','b'}", true}, Case{"zone in { 'b' , \"c\" }", false},
        Case{"zone in {}", false}, Case{"zone not in {'b'}", true},
        Case{"absent not in {'b'}", true}, Case{"zone not in {'a'}", false},
        Case{"role contains 'reflect'", true}, Case{"role contains 'x'", false},
        Case{"role starts with 'route'", true}, Case{"role starts with 'oute'", false},
        Case{"role ends with 'or'", true}, Case{"absent ends with ''", false},
        Case{"example.com/rack == 'r1'", true}, Case{"zone == 'a' && has(rack)", false},
        Case{"zone == 'a' || has(rack)", true}, Case{"has(rack) && has(x) || has(zone)", true},
        Case{"has(rack) && (has(x) || has(zone))", false}, Case{"!(zone == 'a')", false},
        Case{"!!has(zone)", true}, Case{"in in {'x'}", false}),
    [](const auto& each) { return std::to_string(each.index); });

TEST(Selector, GlobalIsWhatStandsInNoNamespace) {
  EXPECT_FALSE(Selector::parse("global()")->matches({{"projectcalico.org/namespace", "x"}}));
}

TEST(Selector, ReadsKubernetesQueries) {
  EXPECT_EQ(Selector::fromQuery("a in (y, x),!b,c!=d")->text(),
            "(a in {'x', 'y'} && !has(b) && c not in {'d'})");
  EXPECT_TRUE(Selector::fromQuery(" ")->matchesAll());
  EXPECT_TRUE(Selector::fromQuery("a=b,c notin (d)")->comparesOnly({"a", "c"}));
  EXPECT_FALSE(Selector::fromQuery("a=b,c")->comparesOnly({"a", "c"}));
  EXPECT_FALSE(Selector::fromQuery("a=b,d=e")->comparesOnly({"a", "c"}));
}

struct Wrong {
  const char* expression;
  const char* message;
};

class SelectorError : public testing::TestWithParam<Wrong> {};

TEST_P(SelectorError, NamesTheColumn) {
  const auto selector = Selector::parse(GetParam().expression);
  ASSERT_FALSE(selector) << selector->text();
  EXPECT_EQ(selector.error().code, Errc::kInvalidConfig);
  EXPECT_EQ(selector.error().message, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Expressions, SelectorError,
    testing::Values(
        Wrong{"zone = 'a'",
              "column 6: a comparison (==, !=, in, not in, contains, starts with, ends with) "
              "expected"},
        Wrong{"zone == a", "column 9: a quoted string expected"},
        Wrong{"zone == 'a", "column 9: a string that does not end"},
        Wrong{"zone == 'a' &&", "column 15: ends where a label's name is expected"},
        Wrong{"(has(a)", "column 8: ends where \")\" is expected"},
        Wrong{"has(a))", "column 7: \"&&\", \"||\" or the end expected"},
        Wrong{"any()", "column 4: no function is called \"any\" (all, global, has)"},
        Wrong{"zone not 'a'", "column 10: \"in\" expected"},
        Wrong{"zone in {'a' 'b'}", "column 14: \",\" or \"}\" expected"},
        Wrong{"zone starts 'a'", "column 13: \"with\" expected"}),
    [](const auto& each) { return std::to_string(each.index); });

TEST(Selector, RefusesWhatIsNestedWithoutEndInsteadOfOverflowingTheStack) {
  EXPECT_FALSE(Selector::parse(std::string(10'000, '(')));
  EXPECT_FALSE(Selector::parse(std::string(10'000, '!') + "has(a)"));
  EXPECT_FALSE(Selector::parse(std::string(20'000, 'a') + " == 'x'"));
  EXPECT_TRUE(Selector::parse(std::string(60, '(') + "has(a)" + std::string(60, ')')));
}

TEST(Selector, TakesAnyBytesWithoutHarm) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same bytes each time
  const std::string alphabet = "ab ()!&|='\"{},innot has()contains starts with \x01\xff";
  for (int round = 0; round < 20'000; ++round) {
    std::string text(random() % 40, ' ');
    for (char& c : text)
      c = alphabet[random() % alphabet.size()];
    const auto selector = Selector::parse(text);
    if (!selector) continue;
    EXPECT_EQ(Selector::parse(selector->text())->matches(kLabels), selector->matches(kLabels))
        << text;
  }
}

TEST(LabelSelector, JoinsLabelsAndExpressions) {
  const auto selector = Selector::fromLabelSelector(nlohmann::json::parse(R"j({
    "matchLabels": {"zone": "a"},
    "matchExpressions": [{"key": "role", "operator": "In", "values": ["x", "route-reflector"]},
                         {"key": "rack", "operator": "DoesNotExist"},
                         {"key": "zone", "operator": "Exists"},
                         {"key": "other", "operator": "NotIn", "values": ["y"]}]})j"));
  ASSERT_TRUE(selector) << selector.error().message;
  EXPECT_TRUE(selector->matches(kLabels));
  EXPECT_FALSE(selector->matches({{"zone", "a"}, {"role", "x"}, {"rack", "1"}}));
  EXPECT_FALSE(selector->matches({{"role", "x"}}));
}

TEST(LabelSelector, MatchesEverythingWhenEmpty) {
  EXPECT_TRUE(Selector::fromLabelSelector(nlohmann::json::object())->matches({}));
}

TEST(LabelSelector, NamesEveryProblem) {
  const auto selector = Selector::fromLabelSelector(nlohmann::json::parse(R"j({
    "matchExpressions": [{"key": "a", "operator": "Has"}, {"key": "", "operator": "Exists"},
                         {"key": "b", "operator": "In"}]})j"));
  ASSERT_FALSE(selector);
  EXPECT_EQ(selector.error().message,
            "matchExpressions[0].operator: \"Has\" is not In, NotIn, Exists or DoesNotExist; "
            "matchExpressions[1].key: \"\" is required; "
            "matchExpressions[2].values: must not be empty for In and NotIn");
}

}  // namespace
}  // namespace culvert::objects
