#include "daemons/services/model.h"

#include <random>

#include "daemons/services/evaluate.h"
#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using objects::EndpointSlice;
using objects::Service;
using test::ip;
using test::service;
using test::slice;

const std::set<IpAddress> kNodePorts{ip("198.18.0.1")};

Model modelOf(const Service& one, const EndpointSlice& endpoints, Policy policy = {}) {
  Model model;
  model.setNode({"n1", "", {ip("198.18.0.1")}});
  model.setPolicy(policy);
  model.set(one.key(), &one);
  model.set(Key{"ns", one.name + "-1"}, &endpoints);
  model.refresh();
  return model;
}

/// One row of kubernetes' TestInternalExternalMasquerade: "10.1.0.1 10.2.0.1", "DROP", ...; with
/// "+m" where the source becomes this node's.
std::string outcome(const Model& model, Origin origin, const std::string& to, std::uint16_t port) {
  const Verdict verdict =
      evaluate(model, kNodePorts, {origin, ip("192.0.2.77"), ip(to), Protocol::kTcp, port});
  switch (verdict.kind) {
    case Verdict::Kind::kDrop:
      return "DROP";
    case Verdict::Kind::kReject:
      return "REJECT";
    case Verdict::Kind::kNotOurs:
      return "-";
    case Verdict::Kind::kForward:
      break;
  }
  return test::texts(verdict.to) + (verdict.masquerade ? " +m" : "");
}

struct Rows {
  const char* title;
  bool masqueradeAll, knowsPods;
  std::string inside[3];         // to the cluster IP, from a pod, this host, outside
  std::string external[3];       // to a node port, load balancer or external IP, policy Cluster
  std::string externalLocal[3];  // the same with policy Local
};

const std::string kL = "10.1.0.1", kLR = "10.1.0.1 10.2.0.1";
const Rows kRows[] = {
    {"base", false, true, {"", " +m", " +m"}, {" +m", " +m", " +m"}, {kLR, kLR + " +m", kL}},
    {"no detector", false, false, {"", "", ""}, {" +m", " +m", " +m"}, {"", kLR + " +m", kL}},
    {"all", true, true, {" +m", " +m", " +m"}, {" +m", " +m", " +m"}, {kLR, kLR + " +m", kL}},
};

Service everyWayIn(bool internalLocal, bool externalLocal) {
  Service one = service("web", R"({'clusterIPs': ['10.96.0.1'], 'externalIPs': ['203.0.113.1'],
      'ports': [{'port': 80, 'nodePort': 30080}]})",
                        "{'loadBalancer': {'ingress': [{'ip': '203.0.113.2'}]}}");
  one.internalLocal = internalLocal;
  one.externalLocal = externalLocal;
  return one;
}

class Masquerade : public testing::TestWithParam<Rows> {};

TEST_P(Masquerade, IsKubeProxys) {
  const Rows& rows = GetParam();
  const EndpointSlice endpoints = slice("web", {"10.1.0.1 n1", "10.2.0.1 n2"});
  for (const bool internalLocal : {false, true}) {
    for (const bool externalLocal : {false, true}) {
      const Service one = everyWayIn(internalLocal, externalLocal);
      const Model model = modelOf(one, endpoints, {rows.masqueradeAll, {rows.knowsPods, true}});
      for (const Origin origin : {Origin::kPod, Origin::kHost, Origin::kOutside}) {
        if (origin == Origin::kPod && !rows.knowsPods) continue;  // nobody is one then
        const auto at = static_cast<std::size_t>(origin);
        EXPECT_EQ(outcome(model, origin, "10.96.0.1", 80),
                  (internalLocal ? kL : kLR) + rows.inside[at]);
        const std::string wanted = externalLocal ? rows.externalLocal[at] : kLR + rows.external[at];
        EXPECT_EQ(outcome(model, origin, "198.18.0.1", 30080), wanted);
        EXPECT_EQ(outcome(model, origin, "203.0.113.1", 80), wanted);
        EXPECT_EQ(outcome(model, origin, "203.0.113.2", 80), wanted);
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Model, Masquerade, testing::ValuesIn(kRows),
                         [](const auto& one) { return std::to_string(one.index); });

TEST(Model, WithoutAnyEndpointEverythingIsRefused) {
  const Service one = everyWayIn(false, true);
  const EndpointSlice none = slice("web", {"10.1.0.1 n1 unready"});
  const Model model = modelOf(one, none);
  for (const Origin origin : {Origin::kPod, Origin::kHost, Origin::kOutside}) {
    EXPECT_EQ(outcome(model, origin, "10.96.0.1", 80), "REJECT");
    EXPECT_EQ(outcome(model, origin, "198.18.0.1", 30080), "REJECT");
  }
}

TEST(Model, PolicyLocalDropsWhereEndpointsAreElsewhere) {
  const Service one = everyWayIn(true, true);
  const EndpointSlice remote = slice("web", {"10.2.0.1 n2"});
  const Model model = modelOf(one, remote);
  EXPECT_EQ(outcome(model, Origin::kPod, "10.96.0.1", 80), "DROP");
  EXPECT_EQ(outcome(model, Origin::kOutside, "203.0.113.2", 80), "DROP");
  EXPECT_EQ(outcome(model, Origin::kPod, "203.0.113.2", 80), "10.2.0.1")
      << "it takes the short cut";
  EXPECT_EQ(outcome(model, Origin::kHost, "198.18.0.1", 30080), "10.2.0.1 +m");
}

TEST(Model, AnUnknownPortOfAClusterIpIsRefused) {
  const Service one = everyWayIn(false, false);
  const EndpointSlice endpoints = slice("web", {"10.1.0.1 n1"});
  const Model model = modelOf(one, endpoints);
  EXPECT_EQ(outcome(model, Origin::kPod, "10.96.0.1", 81), "REJECT");
  EXPECT_EQ(outcome(model, Origin::kPod, "203.0.113.1", 81), "-");
  EXPECT_EQ(outcome(model, Origin::kOutside, "198.18.0.2", 30080), "-") << "not one of ours";
}

TEST(Model, SourceRangesHoldForLoadBalancersOnly) {
  Service one = everyWayIn(false, false);
  one.sourceRanges = {IpPrefix::parse("198.51.100.0/24").value()};
  const EndpointSlice endpoints = slice("web", {"10.1.0.1 n1"});
  const Model model = modelOf(one, endpoints);
  EXPECT_EQ(outcome(model, Origin::kOutside, "203.0.113.2", 80), "DROP");
  EXPECT_EQ(outcome(model, Origin::kPod, "203.0.113.2", 80), "DROP") << "pods are no exception";
  EXPECT_EQ(outcome(model, Origin::kOutside, "203.0.113.1", 80), "10.1.0.1 +m");
  EXPECT_EQ(outcome(model, Origin::kOutside, "198.18.0.1", 30080), "10.1.0.1 +m");
}

TEST(Model, AnEndpointThatReachesItselfIsMasqueraded) {
  const Packet packet{Origin::kPod, ip("10.1.0.1"), ip("10.96.0.1"), Protocol::kTcp, 80};
  const Verdict verdict{Verdict::Kind::kForward, {}, false, {}, {}};
  EXPECT_TRUE(verdict.masqueradesFor(packet, {ip("10.1.0.1"), 8080, true}));
  EXPECT_FALSE(verdict.masqueradesFor(packet, {ip("10.1.0.2"), 8080, true}));
}

TEST(Model, AnAddressThatTwoServicesClaimHasOneHolder) {
  const Service honest = service("z", "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}");
  const Service thief = service(
      "a", "{'clusterIPs': ['10.96.0.2'], 'externalIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}");
  Model model;
  model.set(thief.key(), &thief);
  model.set(honest.key(), &honest);
  model.refresh();
  const At at{ip("10.96.0.1"), 80, Protocol::kTcp};
  ASSERT_TRUE(model.find(at));
  EXPECT_EQ(model.find(at)->service.name, "z") << "a cluster IP goes before what anybody may write";
  ASSERT_EQ(model.conflicts().size(), 1u);
  EXPECT_EQ(model.conflicts()[0].others.front().name, "a");
  model.set(honest.key(), static_cast<const Service*>(nullptr));
  const auto change = model.refresh();
  EXPECT_EQ(change.frontends.count(at), 1u);
  EXPECT_EQ(model.find(at)->service.name, "a");
  EXPECT_TRUE(model.conflicts().empty());
}

TEST(Model, ASliceThatGoesToAnotherServiceChangesBoth) {
  const Service a = service("a", "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}");
  const Service b = service("b", "{'clusterIPs': ['10.96.0.2'], 'ports': [{'port': 80}]}");
  const EndpointSlice first = slice("a", {"10.1.0.1 n1"}), then = slice("b", {"10.1.0.1 n1"});
  Model model;
  model.set(a.key(), &a);
  model.set(b.key(), &b);
  model.set(Key{"ns", "s"}, &first);
  model.refresh();
  model.set(Key{"ns", "s"}, &then);
  EXPECT_EQ(model.refresh().services, (std::set<Key>{a.key(), b.key()}));
  EXPECT_TRUE(model.find(a.key())->front().cluster.empty());
  EXPECT_EQ(model.find(b.key())->front().cluster.size(), 1u);
}

TEST(Model, WhatChangesNothingIsNoChange) {
  const Service one = everyWayIn(false, false);
  const EndpointSlice endpoints = slice("web", {"10.1.0.1 n1"});
  Model model = modelOf(one, endpoints);
  const Service again = one;
  const EndpointSlice same = endpoints;
  model.set(one.key(), &again);
  model.set(Key{"ns", "web-1"}, &same);
  EXPECT_TRUE(model.refresh().empty());
  EXPECT_TRUE(model.refresh().empty());
}

/// Random Services and slices over a small world of names and addresses, so that they collide.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {}
  std::size_t upTo(std::size_t n) { return random_() % (n + 1); }
  Service randomService() {
    Service one = everyWayIn(upTo(1) == 0, upTo(1) == 0);
    one.name = std::string(1, static_cast<char>('a' + upTo(5)));
    one.clusterIps = {ip("10.96.0." + std::to_string(1 + upTo(4)))};
    one.externalIps = {ip("10.96.0." + std::to_string(1 + upTo(4)))};
    one.ports[0].nodePort = static_cast<std::uint16_t>(30000 + upTo(2));
    if (upTo(3) == 0) one.foreign = true;
    return one;
  }
  EndpointSlice randomSlice() {
    std::vector<std::string> endpoints;
    for (std::size_t i = upTo(4); i > 0; --i)
      endpoints.push_back("10.1.0." + std::to_string(1 + upTo(5)) + " n" +
                          std::to_string(1 + upTo(1)) + (upTo(3) == 0 ? " terminating" : ""));
    return slice(std::string(1, static_cast<char>('a' + upTo(5))), endpoints);
  }

 private:
  std::mt19937 random_;
};

TEST(Model, AnyOrderOfEventsEndsInTheStateOfAFreshStart) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    World world(seed);
    Model lived;
    lived.setNode({"n1", "", {}});
    std::map<Key, Service> services;
    std::map<Key, EndpointSlice> slices;
    std::map<At, std::optional<Key>> told;
    for (int event = 0; event < 60; ++event) {
      if (world.upTo(1) == 0) {
        const Service one = world.randomService();
        const bool gone = world.upTo(3) == 0;
        if (gone)
          services.erase(one.key());
        else
          services[one.key()] = one;
        lived.set(one.key(), gone ? nullptr : &services[one.key()]);
      } else {
        const Key key{"ns", "s" + std::to_string(world.upTo(6))};
        const bool gone = world.upTo(3) == 0;
        if (gone)
          slices.erase(key);
        else
          slices[key] = world.randomSlice();
        lived.set(key, gone ? nullptr : &slices[key]);
      }
      if (world.upTo(2) != 0) continue;  // events come together
      for (const At& at : lived.refresh().frontends)
        told[at] = lived.find(at) ? std::optional(lived.find(at)->service) : std::nullopt;
    }
    for (const At& at : lived.refresh().frontends)
      told[at] = lived.find(at) ? std::optional(lived.find(at)->service) : std::nullopt;
    Model fresh;
    fresh.setNode({"n1", "", {}});
    for (const auto& [key, one] : services)
      fresh.set(key, &one);
    for (const auto& [key, one] : slices)
      fresh.set(key, &one);
    for (const At& at : fresh.refresh().frontends)
      EXPECT_EQ(told[at], fresh.find(at)->service) << "seed " << seed;
    for (const auto& [at, holder] : told)
      EXPECT_EQ(holder.has_value(), fresh.find(at).has_value()) << "seed " << seed;
    EXPECT_EQ(lived.plans(), fresh.plans()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace culvert::services
