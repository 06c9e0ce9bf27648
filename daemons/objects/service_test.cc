#include "daemons/objects/service.h"

#include "daemons/objects/secret.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

using nlohmann::json;

TEST(Service, ReadsItsAddressesAndPolicies) {
  const auto service = Service::parse(json::parse(R"({"metadata": {"name": "a", "namespace": "b"},
      "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd96::1"], "externalIPs": ["192.0.2.1"],
               "externalTrafficPolicy": "Local"},
      "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "x"}]}}})"));
  ASSERT_TRUE(service) << service.error().message;
  EXPECT_EQ(service->clusterIps.size(), 2u);
  EXPECT_EQ(service->externalIps.front().text(), "192.0.2.1");
  ASSERT_EQ(service->loadBalancer.size(), 1u);
  EXPECT_TRUE(service->externalLocal);
  EXPECT_FALSE(service->internalLocal);
}

TEST(Service, AHeadlessOneHasNoAddress) {
  EXPECT_TRUE(
      Service::parse(
          json::parse(
              R"({"metadata": {"name": "a"}, "spec": {"clusterIP": "None", "clusterIPs": ["None"]}})"))
          ->clusterIps.empty());
}

TEST(Service, SaysWhatIsWrong) {
  const auto service = Service::parse(json::parse(
      R"({"metadata": {"name": "a"}, "spec": {"externalIPs": ["x"], "externalTrafficPolicy": "Near"}})"));
  ASSERT_FALSE(service);
  EXPECT_NE(service.error().message.find("spec.externalIPs: \"x\""), std::string::npos)
      << service.error().message;
  EXPECT_NE(service.error().message.find("spec.externalTrafficPolicy"), std::string::npos);
}

TEST(Service, CannotBeAtAnAddressThatMeansThisHostOrThisLink) {
  for (const char* text : {"0.0.0.0", "::", "127.0.0.1", "::1", "169.254.1.1", "fe80::1"}) {
    for (const char* field : {"clusterIPs", "externalIPs"}) {
      const json object{{"metadata", {{"name", "a"}}}, {"spec", {{field, json::array({text})}}}};
      ASSERT_FALSE(Service::parse(object)) << text;
      EXPECT_NE(Service::parse(object).error().message.find(field), std::string::npos) << text;
    }
  }
}

TEST(EndpointSlice, CannotLeadToAnAddressThatMeansThisHost) {
  const json object =
      json::parse(R"({"metadata": {"name": "a"}, "endpoints": [{"addresses": ["127.0.0.1"]}]})");
  ASSERT_FALSE(EndpointSlice::parse(object));
  EXPECT_NE(EndpointSlice::parse(object).error().message.find("endpoints[0].addresses"),
            std::string::npos);
}

TEST(EndpointSlice, ReadyIsTheDefault) {
  const auto slice = EndpointSlice::parse(json::parse(
      R"({"metadata": {"name": "a-1", "namespace": "b", "labels": {"kubernetes.io/service-name": "a"}},
      "endpoints": [{"nodeName": "n1", "conditions": {"ready": false}}, {"nodeName": "n2", "conditions": {}}, {}]})"));
  ASSERT_TRUE(slice) << slice.error().message;
  EXPECT_EQ(slice->service, "a");
  ASSERT_EQ(slice->endpoints.size(), 3u);
  EXPECT_FALSE(slice->endpoints[0].ready);
  EXPECT_TRUE(slice->endpoints[1].ready);
}

TEST(Secret, IsDecodedAndNeverQuoted) {
  const auto secret =
      Secret::parse(json::parse(R"({"data": {"a": "c2VjcmV0"}, "stringData": {"b": "plain"}})"));
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret->data.at("a"), "secret");
  EXPECT_EQ(secret->data.at("b"), "plain");
  const auto broken = Secret::parse(json::parse(R"({"data": {"a": "%%hidden"}})"));
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().message.find("hidden"), std::string::npos) << broken.error().message;
}

}  // namespace
}  // namespace culvert::objects
