#include "daemons/services/trace.h"

#include <gmock/gmock.h>

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

const Surroundings kHere{{IpPrefix::parse("10.1.0.0/24").value()},
                         {ip("198.18.0.1"), ip("127.0.0.1")},
                         {ip("198.18.0.1")}};
const char* const kPodIsAPod = "10.1.0.9 is a pod: it is in the pods' networks (10.1.0.0/24)";
const char* const kOutsideIsOutside =
    "192.0.2.7 is outside: in no network of pods (10.1.0.0/24), and on no interface of this host";

class Trace : public testing::Test {
 protected:
  Trace()
      : web_(service("web", R"({'clusterIPs': ['10.96.0.1'],
      'externalIPs': ['203.0.113.1'], 'ports': [{'name': 'http', 'port': 80, 'nodePort': 30080}]})",
                     "{'loadBalancer': {'ingress': [{'ip': '203.0.113.2'}]}}")),
        endpoints_(slice("web", {"10.1.0.1 n1", "10.2.0.1 n2"})) {
    endpoints_.ports[0].name = "http";
    model_.setNode({"n1", "", {}});
  }
  json ask(const std::string& from, const std::string& to, std::uint16_t port) {
    model_.set(web_.key(), &web_);
    model_.set(Key{"ns", "s"}, &endpoints_);
    model_.refresh();
    const auto packet = parsePacket({from, to, std::to_string(port), "TCP"}, kHere);
    EXPECT_TRUE(packet) << packet.error().message;
    return trace(model_, kHere, *packet);
  }
  std::vector<std::string> steps(const std::string& from, const std::string& to,
                                 std::uint16_t port) {
    return ask(from, to, port)["steps"];
  }

  Service web_;
  EndpointSlice endpoints_;
  Model model_;
};

TEST_F(Trace, ANodePortAtLocalhostIsCarriedByTheDaemonIfItIsOpenThere) {
  EXPECT_EQ(ask("127.0.0.1", "127.0.0.1", 30080)["verdict"], "not a service");
  Surroundings open = kHere;
  open.localhostNodePorts = true;
  const json told =
      trace(model_, open, *parsePacket({"127.0.0.1", "127.0.0.1", "30080", "TCP"}, open));
  EXPECT_EQ(told["verdict"], "forward");
  EXPECT_EQ(
      told["steps"][1],
      "127.0.0.1:30080/TCP is a node port of ns/web, port http: culvertd carries connections at "
      "localhost");
  EXPECT_EQ(trace(model_, open,
                  *parsePacket({"127.0.0.1", "127.0.0.1", "30080", "UDP"}, open))["verdict"],
            "not a service");
}

TEST_F(Trace, APodAtAClusterIp) {
  const json told = ask("10.1.0.9", "10.96.0.1", 80);
  EXPECT_EQ(told["verdict"], "forward");
  EXPECT_EQ(told["packet"], "10.1.0.9 to 10.96.0.1:80/TCP");
  EXPECT_THAT(
      told["steps"].get<std::vector<std::string>>(),
      ElementsAre(kPodIsAPod, "10.96.0.1:80/TCP is the ClusterIP of ns/web, port http",
                  "internalTrafficPolicy Cluster: endpoints on all nodes",
                  "to one of them, each as likely as the others", "the endpoint sees 10.1.0.9"));
  ASSERT_EQ(told["endpoints"].size(), 2u);
  EXPECT_EQ(told["endpoints"][0], json({{"endpoint", "10.1.0.1:8080"},
                                        {"probability", 0.5},
                                        {"local", true},
                                        {"masquerade", false}}));
}

TEST_F(Trace, SomebodyOutsideAtANodePort) {
  EXPECT_THAT(steps("192.0.2.7", "198.18.0.1", 30080),
              ElementsAre(kOutsideIsOutside,
                          "198.18.0.1:30080/TCP: node ports are open at this address, and this one "
                          "is of ns/web, port http",
                          "externalTrafficPolicy Cluster: endpoints on all nodes",
                          "to one of them, each as likely as the others",
                          "the endpoint sees this node's address: it may be on another node, and "
                          "its answer has to come back here"));
}

TEST_F(Trace, PolicyLocalTellsOriginsApart) {
  web_.externalLocal = true;
  EXPECT_EQ(steps("192.0.2.7", "203.0.113.1", 80)[2],
            "externalTrafficPolicy Local: endpoints on this node only");
  EXPECT_EQ(steps("10.1.0.9", "203.0.113.1", 80)[2],
            "externalTrafficPolicy Local is for those outside: pods and this host reach all "
            "endpoints");
  endpoints_.endpoints.erase(endpoints_.endpoints.begin());
  EXPECT_EQ(ask("192.0.2.7", "203.0.113.1", 80)["verdict"], "drop");
  EXPECT_THAT(steps("192.0.2.7", "203.0.113.1", 80).back(), testing::HasSubstr(": dropped"));
}

TEST_F(Trace, SourceRangesEndTheWay) {
  web_.sourceRanges = {IpPrefix::parse("198.51.100.0/24").value()};
  EXPECT_EQ(steps("198.51.100.7", "203.0.113.2", 80)[2],
            "198.51.100.7 is in loadBalancerSourceRanges (198.51.100.0/24)");
  const auto refused = steps("192.0.2.7", "203.0.113.2", 80);
  ASSERT_EQ(refused.size(), 3u);
  EXPECT_EQ(refused[2],
            "192.0.2.7 is in none of loadBalancerSourceRanges (198.51.100.0/24): dropped");
}

TEST_F(Trace, AnEndpointThatAsksItself) {
  const json told = ask("10.1.0.1", "10.96.0.1", 80);
  EXPECT_EQ(told["steps"].back(),
            "the endpoint sees 10.1.0.1, except where it reaches itself: then this node's address");
  EXPECT_EQ(told["endpoints"][0]["masquerade"], true);
  EXPECT_EQ(told["endpoints"][1]["masquerade"], false);
}

TEST_F(Trace, WhyTheSourceChanges) {
  EXPECT_EQ(
      steps("198.18.0.1", "10.96.0.1", 80).back(),
      "the endpoint sees this node's address: a cluster IP is asked by somebody who is no pod");
  web_.externalLocal = true;
  EXPECT_EQ(steps("198.18.0.1", "203.0.113.1", 80).back(),
            "the endpoint sees this node's address: this host asks");
  model_.setPolicy({true, {true, true}});
  EXPECT_EQ(steps("10.1.0.9", "10.96.0.1", 80).back(),
            "the endpoint sees this node's address: masqueradeAll is set");
}

TEST_F(Trace, AffinityComesBeforeChance) {
  web_.affinity = std::chrono::seconds(600);
  EXPECT_EQ(steps("10.1.0.9", "10.96.0.1", 80)[3],
            "to where this client was in the last 600 s (sessionAffinity ClientIP); a new client "
            "to one of them, each as likely as the others");
}

TEST_F(Trace, WhatIsRefusedSaysWhy) {
  EXPECT_EQ(steps("10.1.0.9", "10.96.0.1", 81).back(),
            "10.96.0.1 is a Service's cluster IP, but has no port 81/TCP: refused");
  endpoints_.endpoints.clear();
  EXPECT_EQ(steps("10.1.0.9", "10.96.0.1", 80).back(),
            "no endpoint is usable, on any node: refused");
}

TEST_F(Trace, WhatIsNoServices) {
  const json told = ask("10.1.0.9", "198.18.0.2", 30080);
  EXPECT_EQ(told["verdict"], "not a service");
  EXPECT_EQ(
      told["steps"].back(),
      "198.18.0.2:30080/TCP is no Service's: left alone (node ports are open at: 198.18.0.1)");
}

TEST_F(Trace, AnotherClaimantIsNamed) {
  const Service thief = service(
      "a", "{'clusterIPs': ['10.96.0.2'], 'externalIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}");
  model_.set(thief.key(), &thief);
  EXPECT_EQ(steps("10.1.0.9", "10.96.0.1", 80)[2], "ns/a claims it, too, and does not get it");
}

TEST_F(Trace, OfAServiceThatIsGoneButNotYetForgotten) {
  ask("10.1.0.9", "10.96.0.1", 80);
  model_.set(web_.key(), static_cast<const Service*>(nullptr));
  const auto packet = parsePacket({"10.1.0.9", "10.96.0.1", "80", "TCP"}, kHere);
  EXPECT_EQ(trace(model_, kHere, *packet)["verdict"], "forward") << "which the kernel does as well";
}

TEST(Question, SaysWhatIsWrongWithIt) {
  const auto problem = [](const Question& question) {
    const auto packet = parsePacket(question, kHere);
    return packet ? "" : packet.error().message;
  };
  EXPECT_EQ(problem({"10.1.0.9", "10.96.0.1", "80", "TCP"}), "");
  EXPECT_EQ(problem({"", "10.96.0.1", "80", "TCP"}), "source: \"\" is no IP address");
  EXPECT_EQ(problem({"10.1.0.9", "web", "80", "TCP"}), "address: \"web\" is no IP address");
  EXPECT_EQ(problem({"10.1.0.9", "10.96.0.1", "65536", "TCP"}), "port: \"65536\" is no port");
  EXPECT_EQ(problem({"10.1.0.9", "10.96.0.1", "0", "TCP"}), "port: \"0\" is no port");
  EXPECT_EQ(problem({"10.1.0.9", "10.96.0.1", "80", "ICMP"}),
            "protocol: \"ICMP\" is none of TCP, UDP, SCTP");
  EXPECT_EQ(problem({"fd01::1", "10.96.0.1", "80", "TCP"}),
            "source and destination are not of one IP version");
}

}  // namespace
}  // namespace culvert::services
