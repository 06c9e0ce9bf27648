#include "ipam/host_local/config.h"

#include <gmock/gmock.h>

#include "ipam/host_local/host_local.h"
#include "ipam/test_util.h"

namespace culvert::ipam {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::errorOf;
using ::testing::HasSubstr;

Result<HostLocalConfig> parse(const char* text, const std::string& args = {}) {
  return parseHostLocal(
      testing::makeRequest(kHostLocal, cni::Command::kAdd, json::parse(text), {.args = args}));
}

std::vector<std::string> setTexts(const HostLocalConfig& config) {
  std::vector<std::string> texts;
  for (const RangeSet& set : config.sets)
    texts.push_back(rangeSetText(set));
  return texts;
}

std::vector<std::string> requestedTexts(const HostLocalConfig& config) {
  std::vector<std::string> texts;
  for (const IpAddress& address : config.requested)
    texts.push_back(address.text());
  return texts;
}

TEST(HostLocalConfig, OldStyleIsOneRange) {
  const auto config = parse(R"({"ipam": {"type": "host-local", "subnet": "10.1.2.0/24",
      "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.20", "gateway": "10.1.2.30"}})");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_THAT(setTexts(*config), ElementsAre("10.1.2.9-10.1.2.20"));
  EXPECT_EQ(config->sets[0][0].gateway.text(), "10.1.2.30");
  EXPECT_EQ(config->directory, "/var/lib/cni/networks/net");
}

TEST(HostLocalConfig, DefaultsLeaveOutNetworkAndBroadcast) {
  const auto config = parse(R"({"ipam": {"ranges": [[{"subnet": "192.0.2.0/24"}],
      [{"subnet": "198.51.100.4/30"}], [{"subnet": "2001:db8:1::/64"}]]}})");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_THAT(setTexts(*config), ElementsAre("192.0.2.1-192.0.2.254", "198.51.100.5-198.51.100.6",
                                             "2001:db8:1::1-2001:db8:1:0:ffff:ffff:ffff:ffff"));
  EXPECT_EQ(config->sets[0][0].gateway.text(), "192.0.2.1");
  EXPECT_EQ(config->sets[2][0].gateway.text(), "2001:db8:1::1");
}

TEST(HostLocalConfig, RuntimeRangesComeBeforeOldStyleAndRanges) {
  const auto config = parse(R"({"runtimeConfig": {"ipRanges": [[{"subnet": "10.3.0.0/24"}]]},
      "ipam": {"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24"}]]}})");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_THAT(setTexts(*config),
              ElementsAre("10.3.0.1-10.3.0.254", "10.1.0.1-10.1.0.254", "10.2.0.1-10.2.0.254"));
}

TEST(HostLocalConfig, KeysMatchWhateverTheirCase) {
  const auto config = parse(R"({"ipam": {"Subnet": "10.1.2.0/24", "DATADIR": "/x",
      "RangeEnd": "10.1.2.7"}})");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_EQ(config->directory, "/x/net");
  EXPECT_THAT(setTexts(*config), ElementsAre("10.1.2.1-10.1.2.7"));
}

TEST(HostLocalConfig, RequestsComeFromAllThreeSourcesWithOrWithoutPrefix) {
  const auto config = parse(R"({"args": {"cni": {"ips": ["10.1.2.12", "2001:DB8::12/64"]}},
      "runtimeConfig": {"ips": ["10.1.2.13/24", "10.1.2.11"]},
      "ipam": {"subnet": "10.1.2.0/24"}})",
                            "IgnoreUnknown=1;IP=10.1.2.11/24;K8S_POD_NAME=x");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_THAT(requestedTexts(*config),
              ElementsAre("10.1.2.11", "10.1.2.12", "2001:db8::12", "10.1.2.13"));
}

TEST(HostLocalConfig, AMappedAddressIsTheIpv4OneThatTheRangeHolds) {
  const auto config = parse(R"({"runtimeConfig": {"ips": ["::ffff:10.1.2.13"]},
      "ipam": {"ranges": [[{"subnet": "10.1.2.0/24", "gateway": "::ffff:10.1.2.99"}]]}})");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_THAT(requestedTexts(*config), ElementsAre("10.1.2.13"));
  EXPECT_EQ(config->sets[0][0].gateway.text(), "10.1.2.99");
}

TEST(HostLocalConfig, RoutesAndPathsAreTakenAsTheyAre) {
  const auto config = parse(R"({"ipam": {"subnet": "10.1.2.0/24", "dataDir": "/tmp/x",
      "resolvConf": "/etc/resolv.conf",
      "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.2.5", "mtu": 1400}]}})");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_EQ(config->directory, "/tmp/x/net");
  EXPECT_EQ(config->resolvConf, "/etc/resolv.conf");
  ASSERT_EQ(config->routes.size(), 2U);
  EXPECT_EQ(config->routes[1].gw->text(), "10.1.2.5");
  EXPECT_EQ(config->routes[1].mtuBytes, 1400U);
}

/// Each configuration has one fault, found under its path.
struct Fault {
  const char* ipam;
  const char* message;
};
class HostLocalFault : public ::testing::TestWithParam<Fault> {};

TEST_P(HostLocalFault, IsNamedWithPathAndValue) {
  const auto config = parse((std::string(R"({"ipam": )") + GetParam().ipam + "}").c_str());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Errc::kInvalidConfig);
  EXPECT_THAT(config.error().message, HasSubstr(GetParam().message));
  EXPECT_THAT(config.error().message, ::testing::Not(HasSubstr("; "))) << "one fault, one problem";
}

INSTANTIATE_TEST_SUITE_P(
    All, HostLocalFault,
    ::testing::Values(
        Fault{"{}", "ipam.ranges: no IP ranges specified"},
        Fault{"null", "ipam: IPAM config missing 'ipam' key"},
        Fault{R"({"ranges": []})", "ipam.ranges: no IP ranges specified"},
        Fault{R"({"gateway": "10.1.2.1"})", "ipam.ranges: no IP ranges specified"},
        Fault{R"({"ranges": [[]]})", "ipam.ranges[0]: empty range set"},
        Fault{R"({"ranges": [[{}]]})", "ipam.ranges[0][0].subnet: is missing"},
        Fault{
            R"({"ranges": [[{"subnet": "10.1.2.3/24"}]]})",
            R"(ipam.ranges[0][0].subnet: "10.1.2.3/24" has host bits set: the network is 10.1.2.0/24)"},
        Fault{R"({"subnet": "10.1.2.0/31"})",
              "ipam.subnet: Network 10.1.2.0/31 too small to allocate from"},
        Fault{R"({"subnet": "2001:db8::/127"})",
              "ipam.subnet: Network 2001:db8::/127 too small to allocate from"},
        Fault{R"({"subnet": "10.1.2.0"})", R"(ipam.subnet: "10.1.2.0")"},
        Fault{R"({"subnet": ""})", R"(ipam.subnet: "" is not an address in CIDR notation)"},
        Fault{R"({"subnet": 7})", "ipam.subnet: 7 is not a string"},
        Fault{R"({"subnet": "10.1.2.0/24", "rangeStart": "10.1.3.1"})",
              R"(ipam.rangeStart: "10.1.3.1" is not in network 10.1.2.0/24)"},
        Fault{R"({"subnet": "10.1.2.0/24", "rangeEnd": "10.1.3.1"})",
              R"(ipam.rangeEnd: "10.1.3.1" is not in network 10.1.2.0/24)"},
        Fault{R"({"subnet": "10.1.2.0/24", "rangeStart": "2001:db8::1"})",
              R"(ipam.rangeStart: "2001:db8::1" is not in network 10.1.2.0/24)"},
        Fault{R"({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.8"})",
              R"(ipam.rangeEnd: "10.1.2.8" leaves no address)"},
        Fault{R"({"subnet": "10.1.2.0/24", "rangeStart": "nonsense"})",
              R"(ipam.rangeStart: "nonsense" is not an IP address)"},
        Fault{R"({"subnet": "10.1.2.0/24", "gateway": "2001:db8::1"})",
              R"(ipam.gateway: "2001:db8::1" is of another address family)"},
        Fault{R"({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "2001:db8::/64"}]]})",
              "ipam.ranges[0]: mixed address families"},
        Fault{R"({"ranges": [[{"subnet": "10.1.0.0/16"}, {"subnet": "10.1.3.0/24"}]]})",
              "ipam.ranges[0]: subnets 10.1.0.0/16 and 10.1.3.0/24 overlap"},
        Fault{R"({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.1.3.0/24"}]]})",
              "ipam.ranges[1]: range set 0 overlaps with 1"},
        Fault{R"({"ranges": [[{"subnet": "10.1.3.0/24"}], [{"subnet": "10.1.0.0/16"}]]})",
              "range set 0 overlaps with 1"},
        Fault{R"({"subnet": "10.1.2.0/24", "dataDir": "/x\u0000y"})", "ipam.dataDir: "},
        Fault{R"({"subnet": "10.1.2.0/24", "dataDir": "var/lib/cni"})", "ipam.dataDir: "},
        Fault{R"({"subnet": "10.1.2.0/24", "routes": [{"gw": "10.1.2.1"}]})",
              "ipam.routes[0].dst: is missing"}));

TEST(HostLocalConfig, EveryFaultIsReportedAtOnce) {
  const auto config = parse(R"({"args": {"cni": {"ips": ["10.1.2.4", "ten"]}},
      "ipam": {"subnet": "10.1.2.3/24", "dataDir": 5,
               "ranges": [[{"subnet": "10.9.0.0/24", "rangeEnd": "10.8.0.1"}]]}})");
  ASSERT_FALSE(config);
  for (const char* part : {"args.cni.ips[1]: \"ten\"", "ipam.subnet:", "ipam.dataDir: 5",
                           "ipam.ranges[0][0].rangeEnd:"}) {
    EXPECT_THAT(config.error().message, HasSubstr(part));
  }
}

TEST(HostLocalConfig, PartsOfOneSubnetMayShareASet) {
  const auto config = parse(R"({"ipam": {"ranges": [[
      {"subnet": "10.1.2.0/24", "rangeEnd": "10.1.2.9"},
      {"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.20", "rangeEnd": "10.1.2.29"}],
      [{"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.10", "rangeEnd": "10.1.2.19"}]]}})");
  ASSERT_TRUE(config) << errorOf(config);
  EXPECT_THAT(setTexts(*config),
              ElementsAre("10.1.2.1-10.1.2.9,10.1.2.20-10.1.2.29", "10.1.2.10-10.1.2.19"));
}

TEST(HostLocalConfig, OldVersionsHoldOneAddressPerFamily) {
  const char* two = R"({"cniVersion": "0.2.0", "ipam": {"ranges":
      [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}})";
  EXPECT_THAT(errorOf(parse(two)),
              HasSubstr("CNI version 0.2.0 does not support more than 1 address per family"));
  const char* oneEach = R"({"cniVersion": "0.2.0", "ipam": {"ranges":
      [[{"subnet": "10.1.0.0/24"}], [{"subnet": "2001:db8::/64"}]]}})";
  EXPECT_TRUE(parse(oneEach));
}

TEST(HostLocalConfig, BadCniArgsAreTheEnvironmentsFault) {
  const char* good = R"({"ipam": {"subnet": "10.1.2.0/24"}})";
  for (const char* args : {"IP=ten", "IP=10.1.2.3;MAC=0a:00:00:00:00:01", "IP", "IP=1=2"}) {
    const auto config = parse(good, args);
    ASSERT_FALSE(config) << args;
    EXPECT_EQ(config.error().code, Errc::kInvalidEnvironment) << args;
  }
  EXPECT_TRUE(parse(good, "IP="));
}

TEST(HostLocalConfig, StatusWaitsForTheRuntimesRanges) {
  const auto request = [](const char* text) {
    return testing::makeRequest(kHostLocal, cni::Command::kStatus, json::parse(text));
  };
  EXPECT_TRUE(parseForStatus(request(R"({"capabilities": {"ipRanges": true}, "ipam": {}})")));
  EXPECT_FALSE(parseForStatus(request(R"({"ipam": {}})")));
  EXPECT_TRUE(parseForStatus(
      request(R"({"capabilities": {"ipRanges": ["x"]}, "ipam": {"subnet": "10.0.0.0/24"}})")));
  EXPECT_FALSE(parse(R"({"capabilities": {"ipRanges": true}, "ipam": {}})")) << "ADD has them";
}

TEST(HostLocalConfig, DelNeedsOnlyTheDirectory) {
  const auto request = testing::makeRequest(
      kHostLocal, cni::Command::kDel,
      json::parse(R"({"ipam": {"subnet": "nonsense", "dataDir": "/x"}})"), {.args = "IP=ten"});
  const auto directory = parseDirectory(request);
  ASSERT_TRUE(directory) << errorOf(directory);
  EXPECT_EQ(*directory, "/x/net");
}

TEST(HostLocalConfig, TenThousandRangeSetsAreComparedInAnInstant) {
  json lists = json::array();
  for (int i = 0; i < 10000; ++i) {
    lists.push_back(json::array(
        {{{"subnet", "10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24"}}}));
  }
  lists.push_back(json::array({{{"subnet", "10.0.0.0/8"}}}));
  const auto config = parse(json{{"ipam", {{"ranges", lists}}}}.dump().c_str());
  EXPECT_THAT(errorOf(config), HasSubstr("range set 0 overlaps with 10000"));
}

}  // namespace
}  // namespace culvert::ipam
