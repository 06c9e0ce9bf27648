#include "daemons/services/flows.h"

#include "daemons/services/test_objects.h"

namespace culvert::services {
namespace {

using test::ip;

conntrack::Entry flow(const std::string& answeredBy, std::uint16_t port) {
  conntrack::Entry entry;
  entry.protocol = 17;
  entry.original = {ip("10.1.0.9"), ip("10.96.0.1"), 5000, 53};
  entry.reply = {ip(answeredBy), ip("10.1.0.9"), port, 5000};
  return entry;
}

TEST(Flows, AreStaleIfNobodyServesWhereTheyGo) {
  const std::vector<Backend> serving{{ip("10.1.0.2"), 53, true}};
  EXPECT_FALSE(isStale(flow("10.1.0.2", 53), serving));
  EXPECT_TRUE(isStale(flow("10.1.0.3", 53), serving)) << "the endpoint is gone";
  EXPECT_TRUE(isStale(flow("10.1.0.2", 1053), serving)) << "its port is another";
  EXPECT_TRUE(isStale(flow("10.1.0.2", 53), {})) << "no endpoint is left";
  EXPECT_TRUE(isStale(flow("10.96.0.1", 53), serving)) << "it began before there was an endpoint";
  EXPECT_FALSE(isStale(flow("10.96.0.1", 53), {})) << "nobody could answer anyway";
}

/// kubernetes/pkg/proxy/conntrack: TestCleanStaleEntries.
class CleanUp : public testing::Test {
 protected:
  CleanUp() {
    one_ = test::service("dns", R"({'clusterIPs': ['10.96.0.1'], 'externalIPs': ['203.0.113.1'],
        'ports': [{'name': 'u', 'port': 53, 'nodePort': 30053, 'protocol': 'UDP'},
                  {'name': 't', 'port': 53, 'nodePort': 30053},
                  {'name': 's', 'port': 53, 'nodePort': 30053, 'protocol': 'SCTP'}]})",
                         "{'loadBalancer': {'ingress': [{'ip': '203.0.113.2'}]}}");
    endpoints_ = test::slice("dns", {"10.1.0.2 n1", "10.1.0.3 n2 terminating"}, 5353);
    endpoints_.ports = {
        {"u", Protocol::kUdp, 5353}, {"t", Protocol::kTcp, 5353}, {"s", Protocol::kSctp, 5353}};
    model_.set(one_.key(), &one_);
    model_.set(Key{"ns", "dns-1"}, &endpoints_);
    frontends_ = model_.refresh().frontends;
  }

  /// Flows of every protocol, by seven ways, answered by `endpoint`.
  static std::vector<conntrack::Entry> flowsTo(const std::string& endpoint, std::uint16_t port) {
    std::vector<conntrack::Entry> all;
    for (const std::uint8_t protocol : std::initializer_list<std::uint8_t>{6, 17, 132}) {
      for (const auto& [address, number] : std::vector<std::pair<const char*, std::uint16_t>>{
               {"10.96.0.1", 53},
               {"203.0.113.1", 53},
               {"203.0.113.2", 53},
               {"198.18.0.1", 30053},
               {"198.18.0.9", 30053},  // a node port of another node
               {"10.96.0.1", 54},      // a port that the Service has not
               {"10.96.0.7", 53}}) {   // another Service
        conntrack::Entry entry = flow(endpoint, port);
        entry.protocol = protocol;
        entry.original.destination = ip(address);
        entry.original.destinationPort = number;
        all.push_back(entry);
      }
    }
    return all;
  }
  std::size_t stale(const std::string& endpoint, std::uint16_t port = 5353) {
    return staleAmong(flowsTo(endpoint, port), model_, frontends_, {ip("198.18.0.1")}).size();
  }

  static constexpr std::size_t kWaysIn = 4;
  objects::Service one_;
  objects::EndpointSlice endpoints_;
  Model model_;
  std::set<At> frontends_;
};

TEST_F(CleanUp, TakesUdpFlowsToWhomServesNoMore) {
  EXPECT_EQ(stale("10.1.0.2"), 0u);
  EXPECT_EQ(stale("10.1.0.3"), 0u) << "it terminates, and serves";
  EXPECT_EQ(stale("10.1.0.4"), kWaysIn);
  EXPECT_EQ(stale("10.1.0.2", 5354), kWaysIn) << "its port was another";
}

TEST_F(CleanUp, TakesAllUdpFlowsOfAServiceWithoutEndpoints) {
  endpoints_.endpoints.clear();
  model_.set(Key{"ns", "dns-1"}, &endpoints_);
  model_.refresh();
  EXPECT_EQ(stale("10.1.0.2"), kWaysIn);
}

TEST_F(CleanUp, TakesAllUdpFlowsOfAServiceThatIsGone) {
  model_.set(one_.key(), static_cast<const objects::Service*>(nullptr));
  model_.refresh();
  EXPECT_EQ(stale("10.1.0.2"), kWaysIn);
}

}  // namespace
}  // namespace culvert::services
