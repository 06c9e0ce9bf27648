#include "daemons/services/plan.h"

#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using objects::EndpointSlice;
using objects::Service;
using test::ip;
using test::service;
using test::slice;

const Node kHere{"n1", "a", {ip("198.18.0.1")}};

/// What is chosen of the endpoints, as kubernetes/pkg/proxy/topology_test.go has it.
struct Case {
  const char* title;
  bool internalLocal, externalLocal, external;
  std::vector<std::string> endpoints;
  const char *cluster, *local;
  const char* zone = "a";
};

class Choice : public testing::TestWithParam<Case> {};

TEST_P(Choice, IsKubeProxys) {
  const Case& given = GetParam();
  Service one = service("a", "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}");
  one.internalLocal = given.internalLocal;
  one.externalLocal = given.externalLocal;
  if (given.external) one.externalIps.push_back(ip("203.0.113.1"));
  const EndpointSlice slices = slice("a", given.endpoints);
  const auto plans = compile(one, {&slices}, {"n1", given.zone, {}}, {});
  ASSERT_EQ(plans.size(), 1u);
  EXPECT_EQ(test::texts(plans[0].cluster), given.cluster);
  EXPECT_EQ(test::texts(plans[0].local), given.local);
}

const Case kCases[] = {
    {"all ready", false, false, false, {"10.1.0.1 n1", "10.1.0.2 n2"}, "10.1.0.1 10.1.0.2", ""},
    {"hints of our zone",
     false,
     false,
     false,
     {"10.1.0.1 n1 zone=a", "10.1.0.2 n2 zone=b", "10.1.0.3 n3 zone=a"},
     "10.1.0.1 10.1.0.3",
     ""},
    {"no hint of our zone",
     false,
     false,
     false,
     {"10.1.0.1 n1 zone=b", "10.1.0.2 n2 zone=c"},
     "10.1.0.1 10.1.0.2",
     ""},
    {"a hint is missing",
     false,
     false,
     false,
     {"10.1.0.1 n1 zone=a", "10.1.0.2 n2"},
     "10.1.0.1 10.1.0.2",
     ""},
    {"an unready one needs no hint",
     false,
     false,
     false,
     {"10.1.0.1 n1 zone=a", "10.1.0.2 n2 unready", "10.1.0.3 n3 zone=b"},
     "10.1.0.1",
     ""},
    {"only an unready one in our zone",
     false,
     false,
     false,
     {"10.1.0.1 n1 zone=a unready", "10.1.0.3 n3 zone=b"},
     "10.1.0.3",
     ""},
    {"several hints",
     false,
     false,
     false,
     {"10.1.0.1 n1 zone=b zone=a", "10.1.0.2 n2 zone=b", "10.1.0.3 n3 zone=c"},
     "10.1.0.1",
     ""},
    {"hints of our node",
     false,
     false,
     false,
     {"10.1.0.1 n1 node=n1 zone=a", "10.1.0.2 n2 node=n2 zone=a"},
     "10.1.0.1",
     ""},
    {"no endpoint for our node, so the zone",
     false,
     false,
     false,
     {"10.1.0.1 n3 node=n3 zone=a", "10.1.0.2 n2 node=n2 zone=b"},
     "10.1.0.1",
     ""},
    {"a node hint is missing, so the zone",
     false,
     false,
     false,
     {"10.1.0.1 n1 node=n1 zone=a", "10.1.0.2 n2 zone=a", "10.1.0.3 n3 zone=b"},
     "10.1.0.1 10.1.0.2",
     ""},
    {"hints do not filter local ones",
     false,
     true,
     true,
     {"10.1.0.1 n1 zone=b", "10.1.0.2 n2 zone=a"},
     "10.1.0.2",
     "10.1.0.1"},
    {"internal policy Local", true, false, false, {"10.1.0.1 n1", "10.1.0.2 n2"}, "", "10.1.0.1"},
    {"internal policy Local, all remote", true, false, false, {"10.1.0.2 n2"}, "", ""},
    {"internal policy Local, reachable from outside",
     true,
     false,
     true,
     {"10.1.0.1 n1", "10.1.0.2 n2"},
     "10.1.0.1 10.1.0.2",
     "10.1.0.1"},
    {"external policy Local without an external address",
     false,
     true,
     false,
     {"10.1.0.1 n1", "10.1.0.2 n2"},
     "10.1.0.1 10.1.0.2",
     ""},
    {"external policy Local",
     false,
     true,
     true,
     {"10.1.0.1 n1", "10.1.0.2 n2"},
     "10.1.0.1 10.1.0.2",
     "10.1.0.1"},
    {"both Local",
     true,
     true,
     true,
     {"10.1.0.1 n1", "10.1.0.2 n2"},
     "10.1.0.1 10.1.0.2",
     "10.1.0.1"},
    {"none ready, some terminating",
     false,
     false,
     false,
     {"10.1.0.1 n1 terminating", "10.1.0.2 n2 stopped", "10.1.0.3 n3 unready"},
     "10.1.0.1",
     ""},
    {"terminating ones only while none is ready",
     false,
     false,
     false,
     {"10.1.0.1 n1 terminating", "10.1.0.2 n2"},
     "10.1.0.2",
     ""},
    {"the fallback of Local is its own",
     false,
     true,
     true,
     {"10.1.0.1 n1 terminating", "10.1.0.2 n2"},
     "10.1.0.2",
     "10.1.0.1"},
    {"all remote and terminating", true, true, true, {"10.1.0.2 n2 terminating"}, "10.1.0.2", ""},
    {"neither ready nor serving", false, false, false, {"10.1.0.1 n1 stopped"}, "", ""},
    {"none", false, true, true, {}, "", ""},
    {"a node without a zone takes no hint",
     false,
     false,
     false,
     {"10.1.0.1 n1 zone=a", "10.1.0.2 n2 zone=b"},
     "10.1.0.1 10.1.0.2",
     "",
     ""},
    {"hints do not filter for internal policy Local",
     true,
     false,
     false,
     {"10.1.0.1 n1 zone=b", "10.1.0.2 n2 zone=a"},
     "",
     "10.1.0.1"},
    {"a node hint of another node, and no zones",
     false,
     false,
     false,
     {"10.1.0.1 n1 node=n2", "10.1.0.2 n2 node=n2"},
     "10.1.0.1 10.1.0.2",
     ""},
    {"internal policy Local without endpoints", true, false, false, {}, "", ""},
    {"internal policy Local, all local",
     true,
     false,
     false,
     {"10.1.0.1 n1", "10.1.0.2 n1"},
     "",
     "10.1.0.1 10.1.0.2"},
    {"none ready", false, false, false, {"10.1.0.1 n1 unready", "10.1.0.2 n2 unready"}, "", ""},
    {"some ready", false, false, false, {"10.1.0.1 n1", "10.1.0.2 n2 unready"}, "10.1.0.1", ""},
    {"all terminating",
     false,
     false,
     false,
     {"10.1.0.1 n1 terminating", "10.1.0.2 n2 terminating"},
     "10.1.0.1 10.1.0.2",
     ""},
    {"both Local, all remote",
     true,
     true,
     true,
     {"10.1.0.2 n2", "10.1.0.3 n3"},
     "10.1.0.2 10.1.0.3",
     ""},
    {"external policy Local with terminating ones",
     false,
     true,
     true,
     {"10.1.0.1 n1", "10.1.0.2 n1 terminating", "10.1.0.3 n2", "10.1.0.4 n2 terminating"},
     "10.1.0.1 10.1.0.3",
     "10.1.0.1"},
};
INSTANTIATE_TEST_SUITE_P(Plan, Choice, testing::ValuesIn(kCases), [](const auto& one) {
  std::string name = one.param.title;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

TEST(Plan, OfTwoPodsWithOneAddressTheLivingOneCounts) {
  const Service one = service("a", "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}");
  const EndpointSlice first = slice("a", {"10.1.0.1 n1"});
  const EndpointSlice second = slice("a", {"10.1.0.1 n2 terminating"});
  for (const Slices& slices : {Slices{&first, &second}, Slices{&second, &first}}) {
    const auto plans = compile(one, slices, kHere, {});
    ASSERT_EQ(plans[0].cluster.size(), 1u);
    EXPECT_TRUE(plans[0].cluster[0].local);
  }
}

TEST(Plan, EndpointsOfAFamilyServeThatFamily) {
  const Service one =
      service("a", "{'clusterIPs': ['10.96.0.1', 'fd96::1'], 'ports': [{'port': 80}]}");
  const EndpointSlice v4 = slice("a", {"10.1.0.1 n1"}), v6 = slice("a", {"fd01::1 n1"});
  const auto plans = compile(one, {&v4, &v6}, kHere, {});
  ASSERT_EQ(plans.size(), 2u);
  EXPECT_EQ(test::texts(plans[0].cluster), "10.1.0.1");
  EXPECT_EQ(test::texts(plans[1].cluster), "fd01::1");
}

TEST(Plan, ANamedTargetPortMayDifferFromEndpointToEndpoint) {
  const Service one = service("a", "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}");
  const EndpointSlice first = slice("a", {"10.1.0.1 n1"}, 8080);
  const EndpointSlice second = slice("a", {"10.1.0.2 n1"}, 9090);
  const auto plans = compile(one, {&first, &second}, kHere, {});
  EXPECT_EQ(plans[0].cluster,
            (std::vector<Backend>{{ip("10.1.0.1"), 8080, true}, {ip("10.1.0.2"), 9090, true}}));
}

TEST(Plan, PortsOfOneNumberAreToldApartByProtocol) {
  const Service one = service("a", R"({'clusterIPs': ['10.96.0.1'], 'ports': [
      {'name': 't', 'port': 53}, {'name': 'u', 'port': 53, 'protocol': 'UDP'}]})");
  EndpointSlice slices = slice("a", {"10.1.0.1 n1"});
  slices.ports = {{"u", Protocol::kUdp, 5353}};
  const auto plans = compile(one, {&slices}, kHere, {});
  ASSERT_EQ(plans.size(), 2u);
  EXPECT_TRUE(plans[0].cluster.empty());
  EXPECT_EQ(plans[0].frontends[0].by.of(Origin::kPod).target, Target::kReject);
  EXPECT_EQ(plans[1].cluster[0].port, 5353);
}

TEST(Plan, WhatIsNotForUsIsLeftOut) {
  Service headless = service("a", "{'clusterIP': 'None', 'ports': [{'port': 80}]}");
  Service external = service("b", "{'type': 'ExternalName', 'clusterIP': '10.96.0.2'}");
  Service foreign = service("c", "{'clusterIPs': ['10.96.0.3'], 'ports': [{'port': 80}]}");
  foreign.foreign = true;
  for (const Service& one : {headless, external, foreign})
    EXPECT_TRUE(compile(one, {}, kHere, {}).empty()) << one.name;
}

TEST(Plan, ALoadBalancerThatProxiesGetsNoFrontend) {
  const Service one =
      service("a", "{'type': 'LoadBalancer', 'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}",
              "{'loadBalancer': {'ingress': [{'ip': '203.0.113.1', 'ipMode': 'Proxy'}, {'ip': "
              "'203.0.113.2'}]}}");
  const auto plans = compile(one, {}, kHere, {});
  ASSERT_EQ(plans[0].frontends.size(), 2u);
  EXPECT_EQ(plans[0].frontends[1].address, ip("203.0.113.2"));
}

TEST(Plan, SourceRangesAreThoseOfTheFamilyAndTheAddressItself) {
  Service one = service("a", R"({'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}],
      'loadBalancerSourceRanges': [' 198.18.0.0/24 ', 'fd00::/8']})",
                        "{'loadBalancer': {'ingress': [{'ip': '203.0.113.1'}]}}");
  auto plans = compile(one, {}, kHere, {});
  ASSERT_EQ(plans[0].sources.size(), 2u) << "this node may send, and so may the address";
  EXPECT_EQ(plans[0].sources[1].text(), "203.0.113.1/32");
  one.sourceRanges.push_back(IpPrefix::any(Family::kV4));
  EXPECT_TRUE(compile(one, {}, kHere, {})[0].sources.empty());
}

TEST(Plan, HealthCountsReadyAddressesHere) {
  const EndpointSlice one =
      slice("a", {"10.1.0.1 n1", "10.1.0.2 n2", "10.1.0.3 n1 terminating", "10.1.0.4 n1"});
  const EndpointSlice again = slice("a", {"10.1.0.1 n1"});
  EXPECT_EQ(countReadyHere({&one, &again}, "n1"), 2u);
}

TEST(Plan, LeavesTheNodesOwnAddressToTheNode) {
  const Service one = service("a",
                              "{'clusterIPs': ['198.18.0.1'], 'externalIPs': ['198.18.0.1'], "
                              "'ports': [{'port': 80}]}");
  const auto plans = compile(one, {}, kHere, {});
  ASSERT_EQ(plans.size(), 1u);
  ASSERT_EQ(plans[0].frontends.size(), 1u);
  EXPECT_EQ(plans[0].frontends[0].kind, Frontend::Kind::kExternalIp);
}

}  // namespace
}  // namespace culvert::services
