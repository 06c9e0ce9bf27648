#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "daemons/services/test_cluster.h"

/// The flows of kube-proxy's own tests (kubernetes/pkg/proxy/nftables/proxier_test.go): each is
/// what the evaluator says, and what the rules do.
namespace culvert::services::test {
namespace {

using nlohmann::json;

/// Who sends: a pod of this node, this node, somebody outside.
const std::map<std::string, std::string> kSources{
    {"pod", "10.1.0.99"}, {"host", "198.18.0.1"}, {"outside", "192.0.2.77"},
    {"pod6", "fd01::99"}, {"host6", "fd18::1"},   {"outside6", "2001:db8::77"}};

json parsed(std::string text) {
  std::replace(text.begin(), text.end(), '\'', '"');
  return json::parse(text);
}

/// A Service of the JSON of its spec, with ingress addresses of its load balancer.
json svc(const std::string& name, const std::string& spec,
         const std::vector<std::string>& ingress = {}) {
  json all = json::array();
  for (const std::string& ip : ingress)
    all.push_back({{"ip", ip}});
  return {{"kind", "Service"},
          {"metadata", {{"name", name}, {"namespace", "ns"}}},
          {"spec", parsed(spec)},
          {"status", {{"loadBalancer", {{"ingress", all}}}}}};
}

/// Endpoints in words: "10.1.0.2 n1", "10.2.0.2 n2 terminating", "… unready", "… stopped".
json eps(const std::string& of, const std::vector<std::string>& endpoints,
         std::uint16_t port = 8080, const std::string& protocol = "TCP",
         const std::string& name = "") {
  json all = json::array();
  bool v6 = false;
  for (const std::string& text : endpoints) {
    std::istringstream words(text);
    std::string address, node, state;
    words >> address >> node >> state;
    v6 = address.find(':') != std::string::npos;
    json one{{"addresses", json::array({address})}, {"nodeName", node}};
    if (!state.empty())
      one["conditions"] = {{"ready", false},
                           {"serving", state == "terminating"},
                           {"terminating", state != "unready"}};
    all.push_back(one);
  }
  return {{"kind", "EndpointSlice"},
          {"metadata",
           {{"name", of + "-" + protocol + name + (v6 ? "6" : "")},
            {"namespace", "ns"},
            {"labels", {{"kubernetes.io/service-name", of}}}}},
          {"addressType", v6 ? "IPv6" : "IPv4"},
          {"ports", json::array({{{"name", name}, {"protocol", protocol}, {"port", port}}})},
          {"endpoints", all}};
}

json defaultNode() {
  return parsed(R"({'addresses': ['198.18.0.1', '198.18.0.2', 'fd18::1', 'fd18::2'],
      'nodePorts': ['198.18.0.1', 'fd18::1'], 'pods': ['10.1.0.0/16', 'fd01::/64']})");
}

/// "pod 10.96.0.1 80": TCP, or what stands behind.
Packet packetOf(const Lab& lab, const std::string& words) {
  std::istringstream in(words);
  std::string from, to, protocol = "TCP";
  std::uint16_t port = 0;
  in >> from >> to >> port >> protocol;
  const auto known = kSources.find(from);
  const Protocol transport = protocol == "UDP"    ? Protocol::kUdp
                             : protocol == "SCTP" ? Protocol::kSctp
                                                  : Protocol::kTcp;
  return lab.packetFrom(IpAddress::parse(known == kSources.end() ? from : known->second).value(),
                        IpAddress::parse(to).value(), transport, port);
}

using Flows = std::vector<std::pair<std::string, std::string>>;

/// A node that is told one state after another.
class TestNode {
 public:
  explicit TestNode(json node = defaultNode()) { cluster_.node = std::move(node); }

  void tell(std::vector<json> objects) {
    cluster_.objects = std::move(objects);
    auto now = Parsed::parse(cluster_);
    ASSERT_TRUE(now) << now.error().message;
    lab_.tell(*std::move(now));
    const auto done = started_ ? lab_.apply() : lab_.adopt();
    started_ = true;
    ASSERT_TRUE(done) << done.error().message;
  }
  void expect(const Flows& flows) {
    for (const auto& [words, outcome] : flows) {
      const Packet packet = packetOf(lab_, words);
      EXPECT_EQ(textOf(lab_.wanted(packet)), outcome) << words << ", says the evaluator";
      EXPECT_EQ(textOf(lab_.traced(packet).fates), outcome) << words << ", say the rules";
    }
  }
  Lab& lab() { return lab_; }

 private:
  Cluster cluster_;
  Lab lab_;
  bool started_ = false;
};

struct Case {
  const char* title;
  std::vector<json> objects;
  Flows flows;
};

class Named : public testing::TestWithParam<Case> {};

TEST_P(Named, FlowsAreKubeProxys) {
  TestNode node;
  node.tell(GetParam().objects);
  node.expect(GetParam().flows);
}

const std::string kAllKinds = R"({'clusterIPs': ['10.96.0.1'], 'externalIPs': ['203.0.113.1'],
    'ports': [{'port': 80, 'nodePort': 30001}], )";
const std::string kLocal = kAllKinds + "'externalTrafficPolicy': 'Local'}";
const std::string kCluster = kAllKinds + "'externalTrafficPolicy': 'Cluster'}";
const std::string kInternalLocal =
    "{'clusterIPs': ['10.96.0.1'], 'internalTrafficPolicy': 'Local', 'ports': [{'port': 80}]}";
const std::string kPlain = "{'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}]}";
const std::string kRanged = R"({'clusterIPs': ['10.96.0.1'],
    'ports': [{'port': 80, 'nodePort': 30001}], 'loadBalancerSourceRanges': [' 192.0.2.0/25 ']})";

const std::string kBoth = "10.1.0.2:8080, 10.2.0.2:8080",
                  kBothMasqueraded = "10.1.0.2:8080 +m, 10.2.0.2:8080 +m";

const Case kCases[] = {
    {"a Service without endpoints is refused in every way",  // TestNoEndpointsReject
     {svc("a", kCluster, {"203.0.113.2"})},
     {{"pod 10.96.0.1 80", "REJECT"},
      {"outside 203.0.113.1 80", "REJECT"},
      {"pod 198.18.0.1 30001", "REJECT"},
      {"outside 198.18.0.1 30001", "REJECT"},
      {"pod 203.0.113.2 80", "REJECT"},
      {"outside 203.0.113.2 80", "REJECT"}}},
    {"a cluster IP leads to its endpoints and nowhere else",  // TestClusterIPGeneral
     {svc("a", kPlain), eps("a", {"10.1.0.2 n1"}),
      svc("b", R"({'clusterIPs': ['10.96.0.2'], 'ports': [{'name': 'http', 'port': 80},
          {'name': 'https', 'port': 443}, {'name': 'dns', 'port': 53, 'protocol': 'UDP'},
          {'name': 'dns-tcp', 'port': 53}, {'name': 'dns-sctp', 'port': 53, 'protocol': 'SCTP'}]})"),
      eps("b", {"10.1.0.2 n1", "10.2.0.2 n2"}, 8081, "TCP", "http"),
      eps("b", {"10.1.0.2 n1"}, 8443, "TCP", "https"),
      eps("b", {"10.1.0.2 n1"}, 5353, "UDP", "dns"),
      eps("b", {"10.1.0.2 n1"}, 5354, "TCP", "dns-tcp"),
      eps("b", {"10.1.0.2 n1"}, 5355, "SCTP", "dns-sctp")},
     {{"pod 10.96.0.1 80", "10.1.0.2:8080"},
      {"10.1.0.2 10.96.0.1 80", "10.1.0.2:8080 +m"},
      {"pod 10.96.0.2 80", "10.1.0.2:8081, 10.2.0.2:8081"},
      {"10.1.0.2 10.96.0.2 80", "10.1.0.2:8081 +m, 10.2.0.2:8081"},
      {"pod 10.96.0.2 443", "10.1.0.2:8443"},
      {"pod 10.96.0.2 53 UDP", "10.1.0.2:5353"},
      {"pod 10.96.0.2 53 TCP", "10.1.0.2:5354"},
      {"pod 10.96.0.2 53 SCTP", "10.1.0.2:5355"},
      {"pod 10.96.0.2 80 UDP", "REJECT"},
      {"pod 10.96.0.1 443", "REJECT"},
      {"pod 10.96.0.9 80", "-"}}},
    {"load balancers with source ranges",  // TestLoadBalancer
     {svc("a", kRanged, {"203.0.113.2", "203.0.113.3"}), eps("a", {"10.1.0.2 n1"})},
     {{"pod 10.96.0.1 80", "10.1.0.2:8080"},
      {"outside 198.18.0.1 30001", "10.1.0.2:8080 +m"},
      {"192.0.2.200 198.18.0.1 30001", "10.1.0.2:8080 +m"},
      {"outside 203.0.113.2 80", "10.1.0.2:8080 +m"},
      {"192.0.2.200 203.0.113.2 80", "DROP"},
      {"outside 203.0.113.3 80", "10.1.0.2:8080 +m"},
      {"192.0.2.200 203.0.113.3 80", "DROP"},
      {"pod 203.0.113.2 80", "DROP"},
      {"host 203.0.113.2 80", "DROP"}}},
    {"a node in the source ranges may use the load balancer, also by its address",
     {svc("a", R"({'clusterIPs': ['10.96.0.1'], 'ports': [{'port': 80}],
          'loadBalancerSourceRanges': ['198.18.0.0/24']})",
          {"203.0.113.2"}),
      eps("a", {"10.1.0.2 n1"})},
     {{"host 203.0.113.2 80", "10.1.0.2:8080 +m"},
      {"203.0.113.2 203.0.113.2 80", "10.1.0.2:8080 +m"},
      {"outside 203.0.113.2 80", "DROP"}}},
    {"external policy Local",  // TestExternalTrafficPolicyLocal
     {svc("a", kLocal, {"203.0.113.2"}), eps("a", {"10.1.0.2 n1", "10.2.0.2 n2"})},
     {{"pod 10.96.0.1 80", kBoth},
      {"pod 203.0.113.1 80", kBoth},
      {"outside 203.0.113.1 80", "10.1.0.2:8080"},
      {"pod 203.0.113.2 80", kBoth},
      {"outside 203.0.113.2 80", "10.1.0.2:8080"},
      {"pod 198.18.0.1 30001", kBoth},
      {"host 198.18.0.1 30001", kBothMasqueraded},
      {"outside 198.18.0.1 30001", "10.1.0.2:8080"}}},
    {"external policy Local without an endpoint here",
     {svc("a", kLocal, {"203.0.113.2"}), eps("a", {"10.2.0.2 n2"})},
     {{"outside 203.0.113.1 80", "DROP"},
      {"outside 203.0.113.2 80", "DROP"},
      {"outside 198.18.0.1 30001", "DROP"},
      {"pod 203.0.113.2 80", "10.2.0.2:8080"},
      {"host 203.0.113.2 80", "10.2.0.2:8080 +m"},
      {"outside 10.96.0.1 80", "10.2.0.2:8080 +m"}}},
    {"external policy Cluster",  // TestExternalTrafficPolicyCluster
     {svc("a", kCluster, {"203.0.113.2"}), eps("a", {"10.1.0.2 n1", "10.2.0.2 n2"})},
     {{"pod 10.96.0.1 80", kBoth},
      {"pod 203.0.113.1 80", kBothMasqueraded},
      {"outside 203.0.113.1 80", kBothMasqueraded},
      {"pod 203.0.113.2 80", kBothMasqueraded},
      {"outside 203.0.113.2 80", kBothMasqueraded},
      {"pod 198.18.0.1 30001", kBothMasqueraded},
      {"outside 198.18.0.1 30001", kBothMasqueraded}}},
    {"internal policy Cluster",  // TestInternalTrafficPolicy
     {svc("a", kPlain), eps("a", {"10.1.0.2 n1", "10.2.0.2 n2"})},
     {{"pod 10.96.0.1 80", kBoth}}},
    {"internal policy Local with one endpoint here",
     {svc("a", kInternalLocal), eps("a", {"10.1.0.2 n1", "10.2.0.2 n2"})},
     {{"pod 10.96.0.1 80", "10.1.0.2:8080"}, {"host 10.96.0.1 80", "10.1.0.2:8080 +m"}}},
    {"internal policy Local with many here",
     {svc("a", kInternalLocal), eps("a", {"10.1.0.2 n1", "10.1.0.3 n1", "10.2.0.2 n2"})},
     {{"pod 10.96.0.1 80", "10.1.0.2:8080, 10.1.0.3:8080"}}},
    {"internal policy Local with none here",
     {svc("a", kInternalLocal), eps("a", {"10.2.0.2 n2"})},
     {{"pod 10.96.0.1 80", "DROP"}, {"host 10.96.0.1 80", "DROP"}}},
    {"terminating endpoints are passed by while others are ready",
     {svc("a", kLocal), eps("a", {"10.1.0.2 n1", "10.1.0.3 n1 terminating", "10.2.0.2 n2"})},
     {{"pod 10.96.0.1 80", kBoth}, {"outside 203.0.113.1 80", "10.1.0.2:8080"}}},
    {"only terminating endpoints are used",
     {svc("a", kLocal), eps("a", {"10.1.0.2 n1 terminating", "10.1.0.3 n1 stopped"})},
     {{"pod 10.96.0.1 80", "10.1.0.2:8080"}, {"outside 203.0.113.1 80", "10.1.0.2:8080"}}},
    {"terminating endpoints of another node are no local ones",
     {svc("a", kLocal), eps("a", {"10.2.0.2 n2 terminating"})},
     {{"pod 10.96.0.1 80", "10.2.0.2:8080"}, {"outside 203.0.113.1 80", "DROP"}}},
    {"nobody serves any more",
     {svc("a", kLocal), eps("a", {"10.1.0.2 n1 stopped", "10.2.0.2 n2 stopped"})},
     {{"pod 10.96.0.1 80", "REJECT"}, {"outside 203.0.113.1 80", "REJECT"}}},
    {"the host may be the endpoint",
     {svc("a", kPlain), eps("a", {"198.18.0.1 n1"})},
     {{"host 10.96.0.1 80", "198.18.0.1:8080 +m"}, {"pod 10.96.0.1 80", "198.18.0.1:8080"}}},
};

template <class Info>
std::string titleOf(const Info& one) {
  std::string name = one.param.title;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Services, Named, testing::ValuesIn(kCases),
                         [](const auto& one) { return titleOf(one); });

/// TestNodePorts: with one address of the node, or all of them.
TEST(NodePorts, AreOpenAtTheConfiguredAddresses) {
  for (const bool several : {false, true}) {
    json given = defaultNode();
    if (several) given["nodePorts"] = given["addresses"];
    TestNode node(given);
    node.tell({svc("a", R"({'clusterIPs': ['10.96.0.1', 'fd96::1'],
                   'ports': [{'port': 80, 'nodePort': 30001}]})"),
               eps("a", {"10.1.0.2 n1"}), eps("a", {"fd01::2 n1"})});
    node.expect({{"pod 10.96.0.1 80", "10.1.0.2:8080"},
                 {"outside 198.18.0.1 30001", "10.1.0.2:8080 +m"},
                 {"host 198.18.0.1 30001", "10.1.0.2:8080 +m"},
                 {"outside 198.18.0.2 30001", several ? "10.1.0.2:8080 +m" : "-"},
                 {"pod6 fd96::1 80", "[fd01::2]:8080"},
                 {"outside6 fd18::1 30001", "[fd01::2]:8080 +m"},
                 {"host6 fd18::1 30001", "[fd01::2]:8080 +m"},
                 {"outside6 fd18::2 30001", several ? "[fd01::2]:8080 +m" : "-"}});
  }
}

/// TestInternalExternalMasquerade: from whom, to what, with which policies Local; then who is
/// reached (l: the endpoint here, r: the other) and for whom the source becomes the node's.
struct Row {
  const char *from, *to, *policies, *endpoints;
  bool masquerade;
};
const Row kRows[] = {
    {"pod", "10.96.0.1 80", "", "lr", false},
    {"pod", "198.18.0.1 30001", "", "lr", true},
    {"pod", "203.0.113.2 80", "", "lr", true},
    {"host", "10.96.0.1 80", "", "lr", true},
    {"host", "198.18.0.1 30001", "", "lr", true},
    {"outside", "10.96.0.1 80", "", "lr", true},
    {"outside", "198.18.0.1 30001", "", "lr", true},
    {"outside", "203.0.113.2 80", "", "lr", true},
    {"pod", "10.96.0.1 80", "e", "lr", false},
    {"pod", "198.18.0.1 30001", "e", "lr", false},
    {"pod", "203.0.113.2 80", "e", "lr", false},
    {"host", "10.96.0.1 80", "e", "lr", true},
    {"host", "198.18.0.1 30001", "e", "lr", true},
    {"outside", "10.96.0.1 80", "e", "lr", true},
    {"outside", "198.18.0.1 30001", "e", "l", false},
    {"outside", "203.0.113.2 80", "e", "l", false},
    {"pod", "10.96.0.1 80", "i", "l", false},
    {"pod", "198.18.0.1 30001", "i", "lr", true},
    {"host", "10.96.0.1 80", "i", "l", true},
    {"host", "198.18.0.1 30001", "i", "lr", true},
    {"outside", "10.96.0.1 80", "i", "l", true},
    {"outside", "198.18.0.1 30001", "i", "lr", true},
    {"pod", "10.96.0.1 80", "ie", "l", false},
    {"pod", "198.18.0.1 30001", "ie", "lr", false},
    {"host", "10.96.0.1 80", "ie", "l", true},
    {"outside", "10.96.0.1 80", "ie", "l", true},
    {"outside", "198.18.0.1 30001", "ie", "l", false},
};

/// What a row becomes if all to cluster IPs is masqueraded, or nobody can tell a pod.
Row varied(Row row, bool masqueradeAll, bool knowsPods) {
  const std::string policies = row.policies, to = row.to, from = row.from;
  const bool toClusterIp = to == "10.96.0.1 80";
  if (toClusterIp) {
    row.masquerade = masqueradeAll || (knowsPods && row.masquerade);
  } else if (!knowsPods && from == "pod" && policies.find('e') != std::string::npos) {
    row.endpoints = "l";  // a stranger, like all others
  }
  return row;
}

std::string outcomeOf(const Row& row) {
  const std::string suffix = row.masquerade ? ":8080 +m" : ":8080", endpoints = row.endpoints;
  return "10.1.0.2" + suffix + (endpoints == "lr" ? ", 10.2.0.2" + suffix : "");
}

TEST(Masquerading, IsKubeProxysInAllItsVariants) {
  for (const bool masqueradeAll : {false, true}) {
    for (const bool knowsPods : {true, false}) {
      json given = defaultNode();
      given["masqueradeAll"] = masqueradeAll;
      if (!knowsPods) given["pods"] = json::array();
      for (const char* policies : {"", "e", "i", "ie"}) {
        json one = svc("a", kCluster, {"203.0.113.2"});
        const std::string local = policies;
        if (local.find('e') != std::string::npos) one["spec"]["externalTrafficPolicy"] = "Local";
        if (local.find('i') != std::string::npos) one["spec"]["internalTrafficPolicy"] = "Local";
        TestNode node(given);
        node.tell({one, eps("a", {"10.1.0.2 n1", "10.2.0.2 n2"})});
        for (const Row& row : kRows) {
          if (row.policies == local)
            node.expect({{std::string(row.from) + " " + row.to,
                          outcomeOf(varied(row, masqueradeAll, knowsPods))}});
        }
      }
    }
  }
}

/// TestSyncProxyRulesRepeated
TEST(Repeated, EachChangeIsSeenAndNothingElseIsWritten) {
  TestNode node;
  const json a = svc("a", kPlain),
             b = svc("b", "{'clusterIPs': ['10.96.0.2'], 'ports': [{'port': 80}]}");
  node.tell({a, eps("a", {"10.1.0.2 n1"})});
  node.expect({{"pod 10.96.0.1 80", "10.1.0.2:8080"}, {"pod 10.96.0.2 80", "-"}});
  node.tell({a, eps("a", {"10.1.0.2 n1"}), b, eps("b", {"10.1.0.3 n1"})});
  node.expect({{"pod 10.96.0.2 80", "10.1.0.3:8080"}});
  node.tell({a, eps("a", {"10.1.0.2 n1"})});
  node.expect({{"pod 10.96.0.2 80", "-"}});
  node.tell({a, eps("a", {"10.1.0.2 n1"}), b});
  node.expect({{"pod 10.96.0.2 80", "REJECT"}});
  node.tell({a, eps("a", {"10.1.0.2 n1"}), b, eps("b", {"10.1.0.4 n1"})});
  node.expect({{"pod 10.96.0.2 80", "10.1.0.4:8080"}});
  node.tell({a, eps("a", {"10.1.0.5 n1"}), b, eps("b", {"10.1.0.4 n1", "10.2.0.4 n2"})});
  node.expect({{"pod 10.96.0.1 80", "10.1.0.5:8080"},
               {"pod 10.96.0.2 80", "10.1.0.4:8080, 10.2.0.4:8080"}});
  node.tell({a, eps("a", {}), b, eps("b", {"10.1.0.4 n1", "10.2.0.4 n2"})});
  node.expect({{"pod 10.96.0.1 80", "REJECT"}});
  node.tell({a, eps("a", {"10.1.0.5 n1"}), b, eps("b", {"10.1.0.4 n1", "10.2.0.4 n2"})});
  node.expect({{"pod 10.96.0.1 80", "10.1.0.5:8080"}});
  const std::size_t commits = node.lab().kernel().commits();
  node.tell({a, eps("a", {"10.1.0.5 n1"}), b, eps("b", {"10.1.0.4 n1", "10.2.0.4 n2"})});
  EXPECT_EQ(node.lab().kernel().commits(), commits) << "nothing changed, and something was written";
}

/// TestSyncProxyRulesStartup
TEST(Startup, WritesOnlyWhatDiffersFromTheLifeBefore) {
  TestNode node;
  const json a = svc("a", kPlain);
  node.tell({a, eps("a", {"10.1.0.2 n1", "10.2.0.2 n2"})});
  auto& lab = node.lab();
  const auto same = lab.adopt();
  ASSERT_TRUE(same);
  EXPECT_EQ(same->added + same->removed, 0u);
  EXPECT_FALSE(same->rules);
  Cluster later;
  later.node = defaultNode();
  later.objects = {a, eps("a", {"10.1.0.2 n1", "10.2.0.3 n2"})};
  lab.tell(Parsed::parse(later).value());
  const auto other = lab.adopt();
  ASSERT_TRUE(other);
  EXPECT_EQ(other->added, 1u) << "the second endpoint";
  EXPECT_EQ(other->removed, 1u);
  node.expect({{"pod 10.96.0.1 80", "10.1.0.2:8080, 10.2.0.3:8080"}});
}

/// TestLoadBalancerIngressRouteTypeProxy
TEST(LoadBalancer, WithIpModeProxyIsLeftAlone) {
  for (const char* mode : {"Proxy", "VIP", ""}) {
    json one = svc("a", kPlain, {"203.0.113.2"});
    if (*mode != '\0') one["status"]["loadBalancer"]["ingress"][0]["ipMode"] = mode;
    TestNode node;
    node.tell({one, eps("a", {"10.1.0.2 n1"})});
    node.expect({{"pod 203.0.113.2 80", mode == std::string("Proxy") ? "-" : "10.1.0.2:8080 +m"}});
  }
}

/// TestBadIPs: what net.ParseIP refuses, and older versions read as octal.
TEST(Addresses, WithLeadingZerosAreMalformed) {
  for (const char* address : {"010.96.0.1", "10.096.0.1", "10.96.0.01", "10.96.0.256", "10.96.1"}) {
    json one = svc("a", kPlain);
    one["spec"]["clusterIPs"] = json::array({address});
    EXPECT_FALSE(objects::Service::parse(one)) << address;
    const json bad = eps("a", {std::string(address) + " n1"});
    EXPECT_FALSE(objects::EndpointSlice::parse(bad)) << address;
  }
}

/// Of a Service that changes its kind: TestBuildServiceMap…, TestUpdateServiceTypeExternalName.
TEST(ServiceChanges, AreFollowed) {
  TestNode node;
  const json endpoints = eps("a", {"10.1.0.2 n1"});
  node.tell({svc("a", kCluster, {"203.0.113.2"}), endpoints});
  node.expect({{"outside 198.18.0.1 30001", "10.1.0.2:8080 +m"},
               {"outside 203.0.113.2 80", "10.1.0.2:8080 +m"}});
  node.tell({svc("a", kPlain), endpoints});
  node.expect({{"pod 10.96.0.1 80", "10.1.0.2:8080"},
               {"outside 198.18.0.1 30001", "-"},
               {"outside 203.0.113.2 80", "-"}});
  node.tell({svc("a", "{'clusterIP': 'None', 'ports': [{'port': 80}]}"), endpoints});
  node.expect({{"pod 10.96.0.1 80", "-"}});
  node.tell({svc("a", "{'type': 'ExternalName', 'clusterIP': '10.96.0.1'}"), endpoints});
  node.expect({{"pod 10.96.0.1 80", "-"}});
  node.tell({svc("a", kPlain), endpoints});
  node.expect({{"pod 10.96.0.1 80", "10.1.0.2:8080"}});
}

/// TestUpdateEndpointsMap
TEST(EndpointChanges, AreFollowed) {
  const json one = svc("a", R"({'clusterIPs': ['10.96.0.1'], 'ports': [{'name': 'p11', 'port': 11},
      {'name': 'p12', 'port': 12}]})");
  const auto p11 = [](const std::vector<std::string>& endpoints, std::uint16_t port = 11) {
    return eps("a", endpoints, port, "TCP", "p11");
  };
  const auto p12 = [](const std::vector<std::string>& endpoints, std::uint16_t port = 12) {
    return eps("a", endpoints, port, "TCP", "p12");
  };
  TestNode node;
  node.tell({one});
  node.expect({{"pod 10.96.0.1 11", "REJECT"}});
  node.tell({one, p11({"10.1.0.2 n1"})});
  node.expect({{"pod 10.96.0.1 11", "10.1.0.2:11"}, {"pod 10.96.0.1 12", "REJECT"}});
  node.tell({one, p11({"10.1.0.2 n1", "10.2.0.2 n2"}), p12({"10.1.0.2 n1"})});
  node.expect(
      {{"pod 10.96.0.1 11", "10.1.0.2:11, 10.2.0.2:11"}, {"pod 10.96.0.1 12", "10.1.0.2:12"}});
  node.tell({one, p11({"10.1.0.2 n1"}), p12({"10.2.0.3 n2"})});
  node.expect({{"pod 10.96.0.1 11", "10.1.0.2:11"}, {"pod 10.96.0.1 12", "10.2.0.3:12"}});
  node.tell({one, p11({"10.1.0.2 n1"}, 22), eps("a", {"10.1.0.2 n1"}, 12, "TCP", "renamed")});
  node.expect({{"pod 10.96.0.1 11", "10.1.0.2:22"}, {"pod 10.96.0.1 12", "REJECT"}});
  node.tell({one});
  node.expect({{"pod 10.96.0.1 11", "REJECT"}, {"pod 10.96.0.1 12", "REJECT"}});
}

/// A client of a port with session affinity goes where it was before, and by every way in.
TEST(Affinity, IsPerClientAndPortWhateverTheWayIn) {
  TestNode node;
  const json one = svc("a", R"({'clusterIPs': ['10.96.0.1'], 'sessionAffinity': 'ClientIP',
      'ports': [{'port': 80, 'nodePort': 30001}]})");
  node.tell({one, eps("a", {"10.1.0.2 n1", "10.2.0.2 n2"})});
  node.expect({{"outside 10.96.0.1 80", kBothMasqueraded}});
  Lab& lab = node.lab();
  const Trace first = lab.traced(packetOf(lab, "outside 10.96.0.1 80"));
  ASSERT_EQ(first.updates.size(), 2u) << "one for each endpoint it may come to";
  const auto& [set, element] = *first.updates.begin();
  lab.kernel().put(set, {element.first, element.second});
  const auto after = [&](const char* words) {
    return textOf(lab.traced(packetOf(lab, words)).fates);
  };
  EXPECT_EQ(after("outside 10.96.0.1 80"), "10.1.0.2:8080 +m");
  EXPECT_EQ(after("outside 198.18.0.1 30001"), "10.1.0.2:8080 +m");
  EXPECT_EQ(after("192.0.2.78 10.96.0.1 80"), kBothMasqueraded) << "another client";
  node.tell({one, eps("a", {"10.2.0.2 n2", "10.2.0.3 n2"})});
  EXPECT_EQ(after("outside 10.96.0.1 80"), "10.2.0.2:8080 +m, 10.2.0.3:8080 +m")
      << "its endpoint is gone";
}

}  // namespace
}  // namespace culvert::services::test
