#include "plugins/bandwidth/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace culvert::plugins {
namespace {

using Meaning = netlink::Subnets::Meaning;

Result<BandwidthConfig> parse(const std::string& keys) {
  cni::Request request;
  request.config = std::make_shared<nlohmann::json>(nlohmann::json::parse("{" + keys + "}"));
  return parseBandwidthConfig(request);
}

TEST(BandwidthConfig, WithoutKeysLimitsNothing) {
  EXPECT_FALSE(parse("")->limitsAnything());
  EXPECT_FALSE(parse(R"("runtimeConfig": {"bandwidth": {}})")->limitsAnything());
}

TEST(BandwidthConfig, TakesTheRuntimesLimitsOnlyWithoutItsOwn) {
  const std::string runtime =
      R"("runtimeConfig": {"bandwidth": {"ingressRate": 1000000, "ingressBurst": 100000}})";
  EXPECT_EQ(parse(runtime)->ingress.rateBits, 1000000U);
  const auto own = parse(R"("egressRate": 2000000, "egressBurst": 200000, )" + runtime);
  EXPECT_EQ(own->egress.rateBits, 2000000U);
  EXPECT_EQ(own->ingress.rateBits, 0U);
}

TEST(BandwidthConfig, ARateWithoutBurstGetsFiftyMilliseconds) {
  EXPECT_EQ(parse(R"("ingressRate": 1000000000)")->ingress.burstBits, 50000000U);
  EXPECT_EQ(parse(R"("ingressRate": 1000)")->ingress.burstBits, 2U * 65536 * 8);
}

TEST(BandwidthConfig, WhatRuntimesSayForNoBurstIsNoBurst) {
  EXPECT_EQ(parse(R"("ingressRate": 1000000000, "ingressBurst": 2147483647)")->ingress.burstBits,
            50000000U);
  EXPECT_EQ(parse(R"("ingressRate": 1000000000, "ingressBurst": 2147483646)")->ingress.burstBits,
            2147483646U);
}

TEST(BandwidthConfig, RefusesWhatCannotBeMeant) {
  for (const char* keys :
       {R"("ingressBurst": 1000)", R"("ingressRate": -1)", R"("ingressRate": 7)",
        R"("ingressRate": "1M")", R"("egressRate": 1000, "egressBurst": 34359738368)",
        R"("shapedSubnets": ["10.0.0.0/8"], "unshapedSubnets": ["10.0.0.0/8"])",
        R"("shapedSubnets": ["10.0.0.0/33"])", R"("shapedSubnets": "10.0.0.0/8")",
        R"("latency": 0)"}) {
    const auto config = parse(keys);
    ASSERT_FALSE(config) << keys;
    EXPECT_EQ(config.error().code, Errc::kInvalidConfig) << keys;
  }
}

TEST(BandwidthConfig, SubnetsLoseHostBitsAndDuplicates) {
  const auto config = parse(R"("unshapedSubnets": ["10.1.2.3/8", "10.0.0.0/8", "fd00::1/64"])");
  EXPECT_EQ(config->subnets.meaning, Meaning::kAllButThese);
  EXPECT_EQ(config->subnets.list.size(), 2U);
}

TEST(Shape, CountsTheBurstInTicksOf64Nanoseconds) {
  const auto shape = netlink::Shape::of(8'000'000, 800'000, std::chrono::milliseconds(25), 1500);
  EXPECT_EQ(shape.rateBytes, 1'000'000U);
  EXPECT_EQ(shape.burstTicks, 100'000'000U / 64);  // 100,000 bytes take 100 ms
  EXPECT_EQ(shape.limitBytes, 25'000U + 100'000U);
}

TEST(Shape, LetsOnePacketThroughAtLeast) {
  const auto shape = netlink::Shape::of(8'000'000, 8, std::chrono::milliseconds(25), 1518);
  EXPECT_EQ(shape.limitBytes, 25'000U + 1518U);
}

}  // namespace
}  // namespace culvert::plugins
