#include "daemons/services/views.h"

#include <gmock/gmock.h>

#include <random>

#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using nlohmann::json;
using objects::EndpointSlice;
using objects::Service;
using test::ip;
using test::service;
using test::slice;
using testing::ElementsAre;
using testing::Pair;

const Node kHere{"n1", "a", {ip("198.18.0.1")}};

class Views : public testing::Test {
 protected:
  Views() { model_.setNode(kHere); }
  void set(const Service& one) {
    services_.push_back(std::make_unique<Service>(one));
    model_.set(one.key(), services_.back().get());
    model_.refresh();
  }
  void set(const std::string& name, const EndpointSlice& one) {
    slices_.push_back(std::make_unique<EndpointSlice>(one));
    model_.set(Key{"ns", name}, slices_.back().get());
    model_.refresh();
  }
  json list() const { return listServices(model_, problems_); }
  json describe(const std::string& name) const {
    auto answer = describeServices(model_, problems_, name);
    EXPECT_TRUE(answer) << answer.error().message;
    return answer.value()["services"];
  }
  /// Each endpoint of the only port: whether it is used, and why.
  std::map<std::string, std::string> endpoints(const std::string& name) const {
    std::map<std::string, std::string> all;
    const json described = describe(name);
    for (const json& one : described[0]["ports"][0]["endpoints"])
      all[one["endpoint"]] += one["used"].get<std::string>() + ": " + one["why"].get<std::string>();
    return all;
  }

  Model model_;
  Problems problems_;
  std::vector<std::unique_ptr<Service>> services_;
  std::vector<std::unique_ptr<EndpointSlice>> slices_;
};

Service web(const std::string& more = "") {
  return service("web", "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]" + more + "}");
}

TEST_F(Views, AnEndpointSaysWhyItIsUsedOrNot) {
  set(web());
  set("s", slice("web", {"10.1.0.1 n1", "10.1.0.2 n2 unready", "10.1.0.3 n2 terminating",
                         "10.1.0.4 n2 stopped"}));
  EXPECT_THAT(
      endpoints("web"),
      ElementsAre(Pair("10.1.0.1:8080", "yes: ready"), Pair("10.1.0.2:8080", "no: not ready"),
                  Pair("10.1.0.3:8080", "no: terminating, and others are ready"),
                  Pair("10.1.0.4:8080", "no: terminating, and it serves no longer")));
}

TEST_F(Views, AFallbackIsNamedAsOne) {
  set(web());
  set("s", slice("web", {"10.1.0.1 n1 terminating", "10.1.0.2 n2 unready"}));
  EXPECT_EQ(endpoints("web")["10.1.0.1:8080"],
            "yes: terminating, but it serves yet, and none is ready");
}

TEST_F(Views, HintsAreNamed) {
  set(web());
  set("s", slice("web", {"10.1.0.1 n1 zone=a", "10.1.0.2 n2 zone=b"}));
  EXPECT_EQ(endpoints("web")["10.1.0.2:8080"],
            "no: its hints lead other zones to it: b (this node is in a)");
}

TEST_F(Views, WhatPolicyLocalLeavesOutIsNamed) {
  set(web(", 'internalTrafficPolicy': 'Local'"));
  set("s", slice("web", {"10.1.0.1 n1", "10.1.0.2 n2"}));
  EXPECT_EQ(endpoints("web")["10.1.0.2:8080"], "no: the policy is Local, and it is on node n2");
}

TEST_F(Views, AnEndpointForOnePolicyOnlySaysForWhich) {
  set(web(", 'externalTrafficPolicy': 'Local', 'externalIPs': ['203.0.113.1']"));
  set("s", slice("web", {"10.1.0.1 n1", "10.1.0.2 n2"}));
  EXPECT_THAT(endpoints("web"),
              ElementsAre(Pair("10.1.0.1:8080", "yes: ready"),
                          Pair("10.1.0.2:8080",
                               "policy Cluster: the policy is Local, and it is on node n2")));
}

TEST_F(Views, WhatDoesNotFitThePortIsNamed) {
  set(web());
  EndpointSlice other = slice("web", {"10.1.0.2 n1"});
  other.ports[0].name = "metrics";
  EndpointSlice nameless = slice("web", {"10.1.0.3 n1"});
  nameless.endpoints[0].address.reset();
  set("s1", slice("web", {"10.1.0.1 n1"}));
  set("s2", slice("web", {"10.1.0.1 n1 terminating"}));
  set("s3", other);
  set("s4", nameless);
  EXPECT_THAT(
      endpoints("web"),
      ElementsAre(Pair("(none)", "no: it has no IP address"),
                  Pair("10.1.0.1:8080",
                       "yes: readyno: a duplicate: another endpoint has this address and port"),
                  Pair("10.1.0.2", "no: its slice has no port of this name and protocol")));
}

TEST_F(Views, AFrontendSaysWhatHappensToWhom) {
  set(web(", 'externalTrafficPolicy': 'Local', 'externalIPs': ['203.0.113.1']"));
  set("s", slice("web", {"10.1.0.2 n2", "10.1.0.3 n2"}));
  const json frontends = describe("web")[0]["ports"][0]["frontends"];
  ASSERT_EQ(frontends.size(), 2u);
  EXPECT_EQ(frontends[0]["frontend"], "10.96.0.1:80/TCP");
  EXPECT_EQ(frontends[0]["from"], json({{"pod", "2 endpoints"},
                                        {"host", "2 endpoints, masqueraded"},
                                        {"outside", "2 endpoints, masqueraded"}}));
  EXPECT_EQ(
      frontends[1]["from"],
      json({{"pod", "2 endpoints"}, {"host", "2 endpoints, masqueraded"}, {"outside", "dropped"}}));
  EXPECT_EQ(frontends[1]["problem"], "no endpoint on this node: dropped if from outside");
}

TEST_F(Views, WhoElseClaimsAnAddressIsNamed) {
  Service thief = web(", 'externalIPs': ['10.96.0.1']");
  thief.name = "a";
  thief.clusterIps = {ip("10.96.0.2")};
  set(web());
  set(thief);
  EXPECT_EQ(describe("web")[0]["ports"][0]["frontends"][0]["claimedBy"], json({"ns/web", "ns/a"}));
  EXPECT_EQ(describe("a")[0]["ports"][0]["frontends"][1]["problem"], "it is ns/web's");
}

TEST_F(Views, AListHasARowForEachFrontend) {
  set(web(", 'sessionAffinity': 'ClientIP', 'externalIPs': ['203.0.113.1']"));
  set("s", slice("web", {"10.1.0.1 n1", "10.1.0.2 n2 unready"}));
  problems_.emplace(Key{"ns", "broken"}, "port is missing");
  const json all = list();
  ASSERT_EQ(all["services"].size(), 2u);
  const json& row = all["services"][0];
  EXPECT_EQ(row["frontend"], "10.96.0.1:80/TCP");
  EXPECT_EQ(row["used"], 1);
  EXPECT_EQ(row["known"], 2);
  EXPECT_EQ(row["policy"], "Cluster");
  EXPECT_EQ(row["affinitySeconds"], 10800);
  EXPECT_EQ(row["problem"], "");
  EXPECT_EQ(all["problems"],
            json::parse(R"([{"service": "ns/broken", "what": "port is missing"}])"));
}

TEST_F(Views, AServiceThatIsNotOursSaysSo) {
  set(service("h", "{'clusterIP': 'None', 'ports': [{'port': 80}]}"));
  EXPECT_EQ(list()["services"], json::array());
  EXPECT_THAT(describe("ns/h")[0]["problems"][0].get<std::string>(),
              testing::HasSubstr("headless"));
}

TEST_F(Views, AFamilyWithoutClusterIpSaysThatItsEndpointsIdle) {
  set(web());
  set("s", slice("web", {"fd01::1 n1"}));
  EXPECT_EQ(describe("web")[0]["problems"],
            json({"1 endpoint with IPv6 not used: the Service has no IPv6 cluster IP"}));
}

TEST_F(Views, AChangeThatIsNotInForceSaysSo) {
  set(web());
  const Service later = web(", 'externalIPs': ['203.0.113.1']");
  model_.set(later.key(), &later);
  EXPECT_EQ(describe("web")[0]["problems"], json({"its last change is not in force yet"}));
  EXPECT_EQ(list()["services"].size(), 1u) << "the list is of what is in force";
  model_.refresh();
  EXPECT_EQ(describe("web")[0]["problems"], json::array());
}

TEST_F(Views, ANameWithoutNamespaceFindsAllThatHaveIt) {
  Service other = web();
  other.ns = "other";
  other.clusterIps = {ip("10.96.0.9")};
  set(web());
  set(other);
  EXPECT_EQ(describe("web").size(), 2u);
  EXPECT_EQ(describe("other/web").size(), 1u);
  EXPECT_EQ(describeServices(model_, problems_, "nobody").error().code, Errc::kNotFound);
}

/// Random Services, slices and hints; what is said of the endpoints is what the plan does.
class Explained : public testing::TestWithParam<unsigned> {
 protected:
  Explained() : random_(GetParam()) {}
  std::size_t upTo(std::size_t n) { return random_() % (n + 1); }

  Service randomService() {
    Service one = service("web", R"({'clusterIPs': ['10.96.0.1', 'fd96::1'],
        'ports': [{'name': 'a', 'port': 80}, {'name': 'b', 'port': 80, 'protocol': 'UDP'}]})");
    one.internalLocal = upTo(1) == 0;
    one.externalLocal = upTo(1) == 0;
    if (upTo(1) == 0) one.externalIps = {ip("203.0.113.1")};
    return one;
  }
  EndpointSlice::Endpoint randomEndpoint() {
    EndpointSlice::Endpoint one;
    if (upTo(9) != 0)
      one.address = ip((upTo(3) == 0 ? "fd01::" : "10.1.0.") + std::to_string(1 + upTo(5)));
    one.node = "n" + std::to_string(1 + upTo(1));
    one.ready = upTo(2) != 0;
    one.serving = one.ready || upTo(1) == 0;
    one.terminating = upTo(2) == 0;
    if (upTo(3) != 0) one.zones.push_back(upTo(1) == 0 ? "a" : "b");
    if (upTo(3) == 0) one.nodes.push_back("n" + std::to_string(1 + upTo(1)));
    return one;
  }
  EndpointSlice randomSlice() {
    EndpointSlice one{"ns", "web", {}, {}};
    if (upTo(3) != 0) one.ports.push_back({"a", Protocol::kTcp, 8080});
    if (upTo(3) != 0)
      one.ports.push_back({"b", Protocol::kUdp, static_cast<std::uint16_t>(8080 + upTo(1))});
    for (std::size_t i = upTo(6); i > 0; --i)
      one.endpoints.push_back(randomEndpoint());
    return one;
  }

 private:
  std::mt19937 random_;
};

using Places = std::multiset<std::pair<IpAddress, std::uint16_t>>;

Places placesOf(const std::vector<Backend>& backends) {
  Places all;
  for (const Backend& backend : backends)
    all.insert({backend.address, backend.port});
  return all;
}

Places placesOf(const std::vector<Judged>& endpoints, Reason Judged::*list) {
  Places all;
  for (const Judged& judged : endpoints) {
    if (isUsed(judged.*list)) all.insert({*judged.endpoint->address, judged.port});
  }
  return all;
}

/// How often a port of that family should speak of each endpoint: once.
std::multiset<const EndpointSlice::Endpoint*> relevant(const std::vector<EndpointSlice>& slices,
                                                       Family family) {
  std::multiset<const EndpointSlice::Endpoint*> all;
  for (const EndpointSlice& slice : slices) {
    for (const auto& endpoint : slice.endpoints) {
      if (!endpoint.address || endpoint.address->family() == family) all.insert(&endpoint);
    }
  }
  return all;
}

TEST_P(Explained, UsedIsWhatThePlanHas) {
  const Service one = randomService();
  std::vector<EndpointSlice> slices;
  for (std::size_t i = 1 + upTo(3); i > 0; --i)
    slices.push_back(randomSlice());
  Slices pointers;
  for (const EndpointSlice& slice : slices)
    pointers.push_back(&slice);
  const auto plans = compile(one, pointers, kHere, {});
  const auto explanations = explain(one, pointers, kHere, {});
  ASSERT_EQ(plans.size(), explanations.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const auto& endpoints = explanations[i].endpoints;
    EXPECT_EQ(explanations[i].plan, plans[i]);
    EXPECT_EQ(placesOf(endpoints, &Judged::cluster), placesOf(plans[i].cluster));
    EXPECT_EQ(placesOf(endpoints, &Judged::local), placesOf(plans[i].local));
    std::multiset<const EndpointSlice::Endpoint*> mentioned;
    for (const Judged& judged : endpoints)
      mentioned.insert(judged.endpoint);
    EXPECT_EQ(mentioned, relevant(slices, plans[i].family));
  }
}
INSTANTIATE_TEST_SUITE_P(Random, Explained, testing::Range(0u, 300u));

}  // namespace
}  // namespace culvert::services
