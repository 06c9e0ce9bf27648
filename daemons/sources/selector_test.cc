#include "daemons/sources/selector.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace culvert::sources {
namespace {

bool matches(const std::string& labels, const std::string& fields = "",
             const std::string& ns = "") {
  const Json object = {{"metadata", {{"labels", {{"app", "web"}, {"a.b/c", ""}}}}}};
  const auto selector = Selector::parse({objects::kPod, ns, fields, labels});
  EXPECT_TRUE(selector) << labels << fields;
  return selector && selector->matches({"ns1", "pod1"}, object);
}

TEST(Selector, KnowsEqualityAndSets) {
  for (const char* text :
       {"", "app=web", "app == web", "app!=db", "none!=x", "app in (db, web)", "app notin (db)",
        "none notin (x)", "app", "!none", "a.b/c=", "app=web,!none , app in (web)"}) {
    EXPECT_TRUE(matches(text)) << text;
  }
  for (const char* text : {"app=db", "app!=web", "none=x", "app in (db,x)", "app notin (web)",
                           "none", "!app", "app=web,none"}) {
    EXPECT_FALSE(matches(text)) << text;
  }
}

TEST(Selector, KnowsNamesAndNamespaces) {
  EXPECT_TRUE(matches("", "metadata.name=pod1,metadata.namespace=ns1", "ns1"));
  EXPECT_FALSE(matches("", "metadata.name=other"));
  EXPECT_TRUE(matches("", "metadata.name!=other"));
  EXPECT_FALSE(matches("", "", "ns2"));
}

TEST(Selector, RefusesWhatTheApiWouldRefuse) {
  for (const char* text : {"=x", "a in b", "a in (b", "a like (b)", ",", "a=b,", "a b"}) {
    EXPECT_FALSE(Selector::parse({objects::kPod, "", "", text})) << text;
  }
  EXPECT_FALSE(Selector::parse({objects::kPod, "", "spec.nodeName=a", ""}));
}

}  // namespace
}  // namespace culvert::sources
