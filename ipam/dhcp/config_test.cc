#include "ipam/dhcp/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipam/dhcp/daemon.h"
#include "ipam/dhcp/dhcp.h"
#include "ipam/test_util.h"

using namespace std::string_literals;

namespace culvert::ipam::dhcp {
namespace {

using testing::Caller;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::errorOf;
using ::testing::HasSubstr;
using testing::makeRequest;

Result<Config> parse(const nlohmann::json& ipam, const Caller& caller = {}) {
  return parseConfig(
      makeRequest(kDhcp, cni::Command::kAdd, {{"type", "bridge"}, {"ipam", ipam}}, caller));
}

TEST(DhcpConfig, HasTheReferencesDefaults) {
  const auto config = parse({{"type", "dhcp"}});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->socketPath, "/run/cni/dhcp.sock");
  EXPECT_EQ(config->stateDir, "/run/culvert/dhcp");
  EXPECT_EQ(config->priority, 0U);
  EXPECT_TRUE(config->order.v4);
  EXPECT_FALSE(config->order.v6);
  EXPECT_THAT(config->order.request, ElementsAre(121, 1, 3, 33, 6, 15, 119, 26));
  EXPECT_EQ(config->order.provide.at(kClientIdentifier), "\0c1/net/eth0"s);
}

TEST(DhcpConfig, CutsTheClientIdentifierTo254Bytes) {
  const auto config = parse({{"type", "dhcp"}}, {.containerId = std::string(300, 'c')});
  EXPECT_EQ(config->order.provide.at(kClientIdentifier).size(), 254U);
}

TEST(DhcpConfig, ReadsOptionsByNameAndNumber) {
  const auto config = parse({{"provide",
                              {{{"option", "host-name"}, {"value", "web"}},
                               {{"option", 60}, {"value", "v"}},
                               {{"option", "77"}, {"value", "u"}}}},
                             {"request", {{{"option", "ntp-servers"}}, {{"option", 3}}}}});
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->order.provide.at(kHostName), "web");
  EXPECT_EQ(config->order.provide.at(60), "v");
  EXPECT_EQ(config->order.provide.at(77), "u");
  EXPECT_EQ(config->order.request.size(), 9U) << "3 is asked for once";
}

TEST(DhcpConfig, TakesValuesFromArgs) {
  const nlohmann::json ipam{{"provide", {{{"option", 12}, {"fromArg", "POD"}, {"value", "else"}}}}};
  EXPECT_EQ(parse(ipam, {.args = "X;POD=p1;Y=2=3"})->order.provide.at(12), "p1");
  EXPECT_EQ(parse(ipam, {.args = "IgnoreUnknown=1"})->order.provide.at(12), "else");
}

TEST(DhcpConfig, SkipsDefaultsButNotTheMask) {
  const auto config = parse({{"request", {{{"skipDefault", true}}, {{"option", 6}}}}});
  EXPECT_THAT(config->order.request, ElementsAre(1, 6));
}

TEST(DhcpConfig, NamesEveryKeyThatIsWrong) {
  const std::string error = errorOf(parse({{"daemonSocketPath", "here"},
                                           {"priority", -1},
                                           {"families", {"4", "5"}},
                                           {"provide", {{{"option", 53}, {"value", "x"}}}},
                                           {"request", {{{"option", "nonsense"}}}}}));
  for (const char* key : {"ipam.daemonSocketPath", "ipam.priority", "ipam.families",
                          "ipam.provide[0].option", "ipam.request[0].option"})
    EXPECT_THAT(error, HasSubstr(key));
}

TEST(DhcpConfig, NeedsAnIpamObject) {
  const auto config = parseConfig(makeRequest(kDhcp, cni::Command::kAdd, {{"type", "dhcp"}}));
  EXPECT_THAT(errorOf(config), HasSubstr("ipam: is missing"));
}

TEST(DaemonOptions, AreTheReferences) {
  const auto options = parseDaemonOptions({"-pidfile", "/run/p", "--hostprefix=/host",
                                           "-socketpath", "/run/s", "-broadcast", "-timeout",
                                           "1m30s", "-resendmax=500ms", "-resendtimeout", "1h"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->pidFile, "/run/p");
  EXPECT_EQ(options->hostPrefix, "/host");
  EXPECT_EQ(options->socketPath, "/run/s");
  EXPECT_TRUE(options->broadcast);
  EXPECT_EQ(options->retry.timeout, std::chrono::seconds(90));
  EXPECT_EQ(options->retry.resendMax, std::chrono::milliseconds(500));
  EXPECT_EQ(options->retry.resendTimeout, std::chrono::hours(1));
}

TEST(DaemonOptions, HaveTheReferencesDefaults) {
  const DaemonOptions options = *parseDaemonOptions({});
  EXPECT_EQ(options.retry.timeout, std::chrono::seconds(10));
  EXPECT_EQ(options.retry.resendMax, std::chrono::seconds(62));
  EXPECT_EQ(options.retry.resendTimeout, std::chrono::seconds(208));
  EXPECT_FALSE(parseDaemonOptions({"-broadcast=false"})->broadcast);
}

TEST(DaemonOptions, AreRefusedWhenWrong) {
  using Arguments = std::vector<std::string>;
  for (const Arguments& bad :
       {Arguments{"-timeout", "soon"}, Arguments{"-timeout", "0"}, Arguments{"-timeout", "9"},
        Arguments{"-timeout", "99999h"}, Arguments{"-timeout"}, Arguments{"-pidfile", "p"},
        Arguments{"-nonsense", "1"}, Arguments{"word"}, Arguments{"-"},
        Arguments{"-broadcast=maybe"}})
    EXPECT_FALSE(parseDaemonOptions(bad)) << bad[0];
}

}  // namespace
}  // namespace culvert::ipam::dhcp
