#include "plugins/multi/plan.h"

#include <gtest/gtest.h>

#include "plugins/multi/default_route.h"
#include "plugins/multi/device.h"
#include "plugins/multi/status.h"

namespace culvert::plugins::multi {
namespace {

using nlohmann::json;

Attachment attachment(std::string ifName, std::initializer_list<const char*> routes = {}) {
  Attachment one;
  one.name = "net-" + ifName;
  one.ifName = std::move(ifName);
  one.result.emplace();
  for (const char* dst : routes) {
    cni::Route route;
    route.dst = *IpPrefix::parse(dst);
    one.result->routes.push_back(route);
  }
  return one;
}

std::vector<IpAddress> gateways(std::initializer_list<const char*> texts) {
  std::vector<IpAddress> all;
  for (const char* text : texts)
    all.push_back(*IpAddress::parse(text));
  return all;
}

TEST(DefaultRoutes, TheFirstThatHasOneKeepsIt) {
  const std::vector<Attachment> all{attachment("eth0", {"10.0.0.0/8"}),
                                    attachment("net1", {"0.0.0.0/0"}),
                                    attachment("net2", {"0.0.0.0/0", "::/0"})};
  EXPECT_EQ(chooseDefaultRoutes(all, Family::kV4).holder, 1U);
  EXPECT_EQ(chooseDefaultRoutes(all, Family::kV6).holder, 2U);
  EXPECT_FALSE(chooseDefaultRoutes({attachment("eth0")}, Family::kV4).holder);
}

TEST(DefaultRoutes, ASelectionTakesItForItsFamilies) {
  std::vector<Attachment> all{attachment("eth0", {"0.0.0.0/0", "::/0"}), attachment("net1")};
  all[1].defaultRoute = gateways({"10.0.0.1", "10.0.0.2"});
  EXPECT_EQ(chooseDefaultRoutes(all, Family::kV4).holder, 1U);
  EXPECT_EQ(chooseDefaultRoutes(all, Family::kV4).gateways, gateways({"10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(chooseDefaultRoutes(all, Family::kV6).holder, 0U);
}

TEST(DefaultRoutes, AnEmptyListKeepsTheNetworksOwn) {
  std::vector<Attachment> all{attachment("eth0", {"0.0.0.0/0", "::/0"}),
                              attachment("net1", {"0.0.0.0/0"})};
  all[1].defaultRoute = gateways({});
  EXPECT_EQ(chooseDefaultRoutes(all, Family::kV4).holder, 1U);
  EXPECT_TRUE(chooseDefaultRoutes(all, Family::kV4).gateways.empty());
  EXPECT_EQ(chooseDefaultRoutes(all, Family::kV6).holder, 0U);
}

TEST(Plan, TwoMayNotClaimOneDefaultRouteOrInterface) {
  std::vector<Attachment> all{attachment("eth0"), attachment("net1"), attachment("net2")};
  ASSERT_TRUE(refuseContradictions(all));
  all[1].defaultRoute = gateways({"10.0.0.1"});
  all[2].defaultRoute = gateways({"fd00::1"});
  EXPECT_TRUE(refuseContradictions(all));
  all[2].defaultRoute = gateways({});
  EXPECT_NE(refuseContradictions(all).error().message.find("net-net1"), std::string::npos);
  all[2].defaultRoute.reset();
  all[2].ifName = "net1";
  EXPECT_NE(refuseContradictions(all).error().message.find("'net1'"), std::string::npos);
}

TEST(Plan, ThePodIsInCniArgs) {
  const auto pod =
      readPodReference("IgnoreUnknown=1;K8S_POD_NAMESPACE=lab;K8S_POD_NAME=web.0;K8S_POD_UID=u=1");
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->ns + "/" + pod->name + "/" + pod->uid, "lab/web.0/u=1");
  EXPECT_EQ(readPodReference("K8S_POD_NAME=web;K8S_POD_NAMESPACE=")->ns, "default");
  EXPECT_EQ(readPodReference("")->name, "");
  for (const char* args : {"K8S_POD_NAME=../x", "K8S_POD_NAMESPACE=a/b", "K8S_POD_NAME=a b"})
    EXPECT_EQ(readPodReference(args).error().code, Errc::kInvalidEnvironment) << args;
}

TEST(Status, TheFirstInterfaceInASandboxIsMeant) {
  Attachment one = attachment("net1");
  one.isDefault = true;
  one.result->interfaces = {{.name = "br0", .mac = "02:00:00:00:00:01"},
                            {.name = "net1", .mac = "02:00:00:00:00:02", .sandbox = "/ns"}};
  one.result->ips = {{.address = *IpPrefix::parse("10.0.0.2/24"), .interface = 1},
                     {.address = *IpPrefix::parse("10.0.0.1/24"), .interface = 0}};
  one.result->dns.nameservers = {"10.0.0.1"};
  EXPECT_EQ(networkStatus({one}), json::parse(R"([{"name":"net-net1","interface":"net1",
      "mac":"02:00:00:00:00:02","ips":["10.0.0.2"],"default":true,
      "dns":{"nameservers":["10.0.0.1"]}}])"));
}

TEST(Status, AnEmptyResultStillHasAnEntry) {
  Attachment one = attachment("net1");
  one.result.reset();
  EXPECT_EQ(networkStatus({one}), json::parse(R"([{"name":"net-net1","interface":"net1","ips":[],
      "default":false,"dns":{}}])"));
}

TEST(Devices, TheCheckpointOfOldAndNewKubelets) {
  const json checkpoint = json::parse(R"({"Data":{"PodDeviceEntries":[
      {"PodUID":"u","ResourceName":"vendor/nic","DeviceIDs":{"0":["b"],"-1":["a"]}},
      {"PodUID":"u","ResourceName":"vendor/nic","DeviceIDs":["c"]},
      {"PodUID":"u","ResourceName":"vendor/gpu","DeviceIDs":["x"]},
      {"PodUID":"v","ResourceName":"vendor/nic","DeviceIDs":["y"]}]},"Checksum":1})");
  EXPECT_EQ(*parseCheckpoint(checkpoint, "u", "vendor/nic"),
            (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(parseCheckpoint(checkpoint, "w", "vendor/nic")->empty());
  EXPECT_EQ(parseCheckpoint(json::parse(R"({"Data":7})"), "u", "x").error().code, Errc::kDecode);
}

}  // namespace
}  // namespace culvert::plugins::multi
