#include "daemons/services/health_answers.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace culvert::services {
namespace {

using nlohmann::json;
using std::chrono::seconds;

const WallTime kNow{seconds(1'700'000'000)};

TEST(ProxyHealth, IsGoodWhileNothingWaits) {
  const auto answer = answerProxyHealth(ProxyCheck::kHealthz, {}, true, kNow);
  EXPECT_EQ(answer.status, 200U);
  const json body = json::parse(answer.body);
  EXPECT_EQ(body["lastUpdated"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(body["nodeEligible"], true);
  EXPECT_EQ(body["status"]["IPv6"]["healthy"], true);
}

TEST(ProxyHealth, IsBadOnceAChangeHasWaitedForTwoSyncPeriods) {
  const Progress late{kNow - seconds(61), kNow - seconds(100)};
  for (const ProxyCheck check : {ProxyCheck::kHealthz, ProxyCheck::kLivez}) {
    EXPECT_EQ(answerProxyHealth(check, {kNow - seconds(60), {}}, true, kNow).status, 200U);
    const auto answer = answerProxyHealth(check, late, true, kNow);
    EXPECT_EQ(answer.status, 503U);
    EXPECT_EQ(json::parse(answer.body)["lastUpdated"], "2023-11-14T22:11:40.000Z");
  }
}

TEST(ProxyHealth, OfALeavingNodeIsBadForLoadBalancersOnly) {
  EXPECT_EQ(answerProxyHealth(ProxyCheck::kHealthz, {}, false, kNow).status, 503U);
  const auto live = answerProxyHealth(ProxyCheck::kLivez, {}, false, kNow);
  EXPECT_EQ(live.status, 200U);
  EXPECT_FALSE(json::parse(live.body).contains("nodeEligible"));
}

TEST(NodeEligibility, EndsWithDeletionTheAutoscalersTaintOrTheNode) {
  EXPECT_FALSE(isEligible(nullptr));
  const auto node = [](const char* metadata, const char* spec) {
    json object{{"metadata", json::parse(metadata)}, {"spec", json::parse(spec)}};
    return objects::Node::parse(object).value();
  };
  const auto plain = node(R"({"name":"n"})", R"({"taints":[{"key":"other"}]})");
  EXPECT_TRUE(isEligible(&plain));
  const auto leaving =
      node(R"({"name":"n"})", R"({"taints":[{"key":"ToBeDeletedByClusterAutoscaler"}]})");
  EXPECT_FALSE(isEligible(&leaving));
  const auto deleted = node(R"({"name":"n","deletionTimestamp":"2023-11-14T22:13:20Z"})", "{}");
  EXPECT_FALSE(isEligible(&deleted));
}

TEST(ServiceHealth, TellsHowMuchIsReadyHere) {
  const auto good = answerServiceHealth({"ns", "web"}, 2, true);
  EXPECT_EQ(good.status, 200U);
  EXPECT_EQ(good.contentType, "application/json");
  EXPECT_EQ(good.headers.at("X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_EQ(good.headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(json::parse(good.body),
            json::parse(R"({"service":{"namespace":"ns","name":"web"},"localEndpoints":2,
                            "serviceProxyHealthy":true})"));
  EXPECT_EQ(answerServiceHealth({"ns", "web"}, 0, true).status, 503U);
  EXPECT_EQ(answerServiceHealth({"ns", "web"}, 2, false).status, 503U);
}

}  // namespace
}  // namespace culvert::services
