#include "daemons/services/nft_backend.h"

#include "daemons/services/test_objects.h"
#include "netlink/test_net.h"

namespace culvert::services {
namespace {

using objects::EndpointSlice;
using objects::Service;
using test::ip;
using test::service;
using test::slice;
using testnet::newNamespace;
using testnet::runCommand;

class NftBackendTest : public testing::Test {
 protected:
  void SetUp() override {
    newNamespace();
    settings_.pods = {IpPrefix::parse("10.1.0.0/16").value()};
    settings_.nodePortAddresses = {ip("198.18.0.1")};
    model_.setNode({"n1", "", {}});
  }
  NftBackend open() { return NftBackend(openKernel().value()); }
  void set(const Service& one, const EndpointSlice* endpoints) {
    model_.set(one.key(), &one);
    if (endpoints != nullptr) model_.set(Key{"ns", one.name + "-1"}, endpoints);
  }
  static std::string listed() { return runCommand("nft list table inet culvert_services"); }

  Model model_;
  NftBackend::Settings settings_;
};

Service web() {
  Service one =
      service("web", R"({'clusterIPs': ['10.96.0.1', 'fd96::1'], 'externalIPs': ['203.0.113.1'],
      'ports': [{'port': 80, 'nodePort': 30080}], 'externalTrafficPolicy': 'Local'})",
              "{'loadBalancer': {'ingress': [{'ip': '203.0.113.2'}]}}");
  one.sourceRanges = {IpPrefix::parse("198.51.100.0/24").value()};
  return one;
}

TEST_F(NftBackendTest, WhatIsAppliedStepByStepIsWhatAFreshStartMakes) {
  const Service one = web();
  Service two =
      service("two", "{'clusterIPs': ['10.96.0.2'], 'ports': [{'port': 53, 'protocol': 'UDP'}]}");
  two.affinity = std::chrono::seconds(60);
  const EndpointSlice first = slice("web", {"10.1.0.1 n1", "10.2.0.1 n2"});
  const EndpointSlice later = slice("web", {"10.1.0.1 n1", "10.2.0.1 n2", "10.2.0.9 n2"});
  EndpointSlice dns = slice("two", {"10.1.0.7 n1"}, 5353);
  dns.ports[0].protocol = Protocol::kUdp;
  std::optional<NftBackend> stepwise = open();
  ASSERT_TRUE(stepwise->adopt(model_, settings_));
  using Step = std::pair<const Service*, const EndpointSlice*>;
  for (const auto& [object, endpoints] :
       {Step(&one, &first), Step(&two, &dns), Step(&one, &later)}) {
    set(*object, endpoints);
    const auto done = stepwise->apply(model_, model_.refresh(), settings_);
    ASSERT_TRUE(done) << done.error().message;
  }
  const std::string before = listed();
  const auto again = stepwise->apply(model_, model_.refresh(), settings_);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->added + again->removed, 0u);
  stepwise.reset();  // a table that is owned has one owner
  const auto adopted = open().adopt(model_, settings_);
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted->added + adopted->removed, 0u) << "a new life finds what it wants";
  newNamespace();
  const auto fresh = open().adopt(model_, settings_);
  ASSERT_TRUE(fresh) << fresh.error().message;
  EXPECT_GT(fresh->added, 0u);
  for (const char* text :
       {"10.96.0.1 . tcp . 80 . 0x00000002", "203.0.113.2 . tcp . 80 . 198.51.100.0"})
    EXPECT_NE(before.find(text), std::string::npos) << before;
}

TEST_F(NftBackendTest, WhatIsGoneLeavesNoElement) {
  const Service one = web();
  const EndpointSlice endpoints = slice("web", {"10.1.0.1 n1", "10.2.0.1 n2"});
  NftBackend backend = open();
  ASSERT_TRUE(backend.adopt(model_, settings_));
  const std::string empty =
      runCommand("nft -s list table inet culvert_services | grep -c elements || true");
  set(one, &endpoints);
  ASSERT_TRUE(backend.apply(model_, model_.refresh(), settings_));
  model_.set(one.key(), static_cast<const Service*>(nullptr));
  const auto done = backend.apply(model_, model_.refresh(), settings_);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(runCommand("nft -s list table inet culvert_services | grep -c elements || true"),
            empty);
}

TEST_F(NftBackendTest, AForeignChangeIsFoundAndUndone) {
  const Service one = web();
  const EndpointSlice endpoints = slice("web", {"10.1.0.1 n1", "10.2.0.1 n2"});
  set(one, &endpoints);
  model_.refresh();
  ASSERT_TRUE(open().adopt(model_, settings_));
  const std::string before = listed();
  runCommand(
      "nft delete element inet culvert_services endpoints_ipv4 '{ 10.96.0.1 . tcp . 80 . 0x1 }'");
  runCommand("nft add element inet culvert_services frontends_ipv4 '{ 10.96.0.9 . tcp . 80 }'");
  runCommand("nft flush chain inet culvert_services nat_postrouting");
  const auto repaired = open().adopt(model_, settings_);
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_TRUE(repaired->rules);
  EXPECT_EQ(repaired->added, 1u);
  EXPECT_EQ(repaired->removed, 1u);
  EXPECT_EQ(listed().size(), before.size());
}

}  // namespace
}  // namespace culvert::services
