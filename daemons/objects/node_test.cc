#include "daemons/objects/node.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

using nlohmann::json;

json object(const std::string& spec, const std::string& status,
            const std::string& annotations = "{}") {
  json node = {{"metadata", {{"name", "a"}, {"uid", "1"}, {"labels", {{"zone", "z1"}}}}}};
  node["spec"] = json::parse(spec);
  node["status"] = json::parse(status);
  node["metadata"]["annotations"] = json::parse(annotations);
  return node;
}

std::string problemOf(const json& node) {
  const auto parsed = Node::parse(node);
  return parsed ? "none" : parsed.error().message;
}

TEST(Node, ReadsWhatRoutingNeeds) {
  const auto node = Node::parse(object(R"({"podCIDRs": ["10.1.0.0/24", "fd01::/64"]})",
                                       R"({"addresses": [{"type": "Hostname", "address": "a"},
                                           {"type": "InternalIP", "address": "198.18.0.1"},
                                           {"type": "InternalIP", "address": "198.18.0.9"},
                                           {"type": "InternalIP", "address": "fd00::1"}]})"));
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(node->meta.name, "a");
  EXPECT_EQ(node->meta.labels.at("zone"), "z1");
  ASSERT_EQ(node->podCidrs.size(), 2u);
  EXPECT_EQ(node->podCidrs[1].text(), "fd01::/64");
  EXPECT_EQ(node->internal.v4->text(), "198.18.0.1");
  EXPECT_EQ(node->endpoint.v4->text(), "198.18.0.1");
  EXPECT_EQ(node->endpoint.v6->text(), "fd00::1");
}

TEST(Node, TakesTheOldFieldIfTheListIsAbsent) {
  EXPECT_EQ(Node::parse(object(R"({"podCIDR": "10.1.0.0/24"})", "{}"))->podCidrs.size(), 1u);
}

TEST(Node, AnEndpointIsOursBeforeOthersBeforeTheInternalIp) {
  const char* status = R"({"addresses": [{"type": "InternalIP", "address": "198.18.0.1"}]})";
  const auto endpoint = [&](const char* annotations) {
    return Node::parse(object("{}", status, annotations))->endpoint.v4->text();
  };
  EXPECT_EQ(endpoint(R"({"projectcalico.org/IPv4Address": "198.18.0.2/24"})"), "198.18.0.2");
  EXPECT_EQ(endpoint(R"({"flannel.alpha.coreos.com/public-ip": "198.18.0.3"})"), "198.18.0.3");
  EXPECT_EQ(endpoint(R"({"flannel.alpha.coreos.com/public-ip": "198.18.0.3",
                         "flannel.alpha.coreos.com/public-ip-overwrite": "198.18.0.4"})"),
            "198.18.0.4");
  EXPECT_EQ(endpoint(R"({"flannel.alpha.coreos.com/public-ip": "198.18.0.3",
                         "culvert.dev/ipv4-endpoint": "198.18.0.5"})"),
            "198.18.0.5");
  EXPECT_EQ(endpoint(R"({"culvert.dev/ipv4-endpoint": "198.18.0.5",
                         "culvert.dev/ipv4-endpoint-override": "198.18.0.6"})"),
            "198.18.0.6");
}

TEST(Node, ReadsTheVtepThatFlannelOrCalicoPublish) {
  const auto flannel =
      Node::parse(object("{}", "{}", R"({"flannel.alpha.coreos.com/backend-type": "vxlan",
      "flannel.alpha.coreos.com/backend-data": "{\"VNI\":1,\"VtepMAC\":\"66:00:00:00:00:01\"}"})"));
  EXPECT_EQ(flannel->vtep.v4->mac.text(), "66:00:00:00:00:01");
  EXPECT_EQ(flannel->vtep.v4->vni, 1u);
  const auto calico = Node::parse(
      object("{}", "{}", R"({"projectcalico.org/VXLANTunnelMACAddr": "66:00:00:00:00:02"})"));
  EXPECT_EQ(calico->vtep.v4->mac.text(), "66:00:00:00:00:02");
  const auto garbage =
      Node::parse(object("{}", "{}", R"({"flannel.alpha.coreos.com/backend-type": "vxlan",
      "flannel.alpha.coreos.com/backend-data": "[[[", "projectcalico.org/VXLANTunnelMACAddr": "no"})"));
  EXPECT_FALSE(garbage->vtep.v4) << "what others publish is no reason to refuse a node";
}

TEST(Node, SaysAllThatIsWrong) {
  EXPECT_NE(
      problemOf(
          object(R"({"podCIDRs": ["10.1.0.1/24", "x"]})", "{}",
                 R"({"culvert.dev/ipv4-endpoint": "fd00::1", "culvert.dev/wireguard-port": "x"})"))
          .find("spec.podCIDRs: \"10.1.0.1/24\" has host bits set; spec.podCIDRs: \"x\" is not a "
                "network (CIDR); "
                "metadata.annotations[culvert.dev/ipv4-endpoint]: \"fd00::1\" is not an IPv4 "
                "address; "
                "metadata.annotations[culvert.dev/wireguard-port]: \"x\" is not a port"),
      std::string::npos);
  EXPECT_NE(problemOf(json::parse(R"({"metadata": {}})")).find("metadata.name: missing"),
            std::string::npos);
  EXPECT_NE(problemOf(json::array()), "none");
}

TEST(Node, ReadsWhatBgpNeeds) {
  const auto ours = Node::parse(object("{}", "{}", R"({"culvert.dev/as-number": "64513",
      "culvert.dev/route-reflector-cluster-id": "224.0.0.1"})"));
  EXPECT_EQ(ours->asNumber, 64513u);
  EXPECT_EQ(ours->reflectorClusterId->text(), "224.0.0.1");
  EXPECT_EQ(*ours, *Node::parse(ours->toJson()));
  const auto calico = Node::parse(object("{}", "{}", R"({"projectcalico.org/ASNumber": "64514",
      "projectcalico.org/RouteReflectorClusterID": "224.0.0.2"})"));
  EXPECT_EQ(calico->asNumber, 64514u);
  EXPECT_EQ(calico->reflectorClusterId->text(), "224.0.0.2");
  EXPECT_NE(problemOf(object("{}", "{}", R"({"culvert.dev/as-number": "many"})"))
                .find("is not an AS number"),
            std::string::npos);
}

TEST(Node, HeartbeatsMakeNoDifference) {
  json node = object(R"({"podCIDRs": ["10.1.0.0/24"]})", "{}");
  const auto before = Node::parse(node);
  node["metadata"]["resourceVersion"] = "2";
  node["metadata"]["annotations"]["volumes.kubernetes.io/controller-managed-attach-detach"] =
      "true";
  node["status"]["conditions"] = json::array({{{"type", "Ready"}, {"lastHeartbeatTime", "now"}}});
  EXPECT_EQ(*before, *Node::parse(node));
}

TEST(Node, SurvivesTheStateFile) {
  const auto node = Node::parse(
      object(R"({"podCIDRs": ["10.1.0.0/24", "fd01::/64"]})",
             R"({"addresses": [{"type": "InternalIP", "address": "198.18.0.1"}]})",
             R"({"culvert.dev/tunnels": "vxlan-l3,vxlan", "culvert.dev/wireguard-keys": "a,b",
      "culvert.dev/wireguard-port": "51821", "flannel.alpha.coreos.com/backend-type": "vxlan",
      "flannel.alpha.coreos.com/backend-v6-data": "{\"VNI\":1,\"VtepMAC\":\"66:00:00:00:00:01\"}"})"));
  ASSERT_TRUE(node);
  EXPECT_EQ(*node, *Node::parse(node->toJson()));
}

}  // namespace
}  // namespace culvert::objects
