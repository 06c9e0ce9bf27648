#include "daemons/objects/pod.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

Result<PodWishes> parse(const json& annotations) {
  return PodWishes::parse({{"metadata", {{"name", "p"}, {"annotations", annotations}}}});
}

TEST(PodWishes, AreNoneWithoutAnnotations) {
  EXPECT_EQ(*PodWishes::parse({{"metadata", {{"name", "p"}}}}), PodWishes());
}

TEST(PodWishes, AreReadInCalicosWordsAndInOurs) {
  const auto calico = parse({{annotations::kCalicoAddresses, R"(["10.1.0.9", "fd00::9"])"},
                             {annotations::kCalicoPoolsV4, R"(["a", "10.2.0.0/16"])"},
                             {annotations::kCalicoPoolsV6, R"(["b"])"}});
  ASSERT_TRUE(calico);
  EXPECT_THAT(calico->addresses,
              ElementsAre(*IpAddress::parse("10.1.0.9"), *IpAddress::parse("fd00::9")));
  EXPECT_THAT(calico->pools, ElementsAre("a", "10.2.0.0/16", "b"));
  const auto ours = parse({{annotations::kPodAddresses, R"(["10.1.0.8"])"},
                           {annotations::kCalicoAddresses, R"(["10.1.0.9"])"},
                           {annotations::kPodPools, R"(["mine"])"},
                           {annotations::kCalicoPoolsV4, R"(["a"])"}});
  ASSERT_TRUE(ours);
  EXPECT_THAT(ours->addresses, ElementsAre(*IpAddress::parse("10.1.0.8")));
  EXPECT_THAT(ours->pools, ElementsAre("mine"));
}

TEST(PodWishes, ThatAreWrongAreRefused) {
  for (const char* text :
       {"10.1.0.9", R"({"a": 1})", "[1]", R"(["10.1.0.300"])", R"(["10.1.0.1", "10.1.0.2"])"}) {
    const auto parsed = parse({{annotations::kPodAddresses, text}});
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Errc::kInvalidConfig);
    EXPECT_THAT(parsed.error().message, HasSubstr(annotations::kPodAddresses));
  }
}

}  // namespace
}  // namespace culvert::objects
