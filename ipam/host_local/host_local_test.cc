#include "ipam/host_local/host_local.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "ipam/test_util.h"

namespace culvert::ipam {
namespace {

using cni::Command;
using nlohmann::json;
using testing::errorOf;
using testing::exists;
using ::testing::HasSubstr;
using testing::readText;
using testing::writeText;

/// The plugin on a data directory of its own.
class HostLocalTest : public ::testing::Test {
 protected:
  void TearDown() override {
    std::filesystem::remove(temp / "data/net/lock");  // some tests make a directory of it
    testing::collectAll(kHostLocal, conf());
  }

  json conf(const char* ipam = R"({"ranges": [[{"subnet": "10.1.2.0/24"}]]})") const {
    json config{{"ipam", json::parse(ipam)}};
    config["ipam"]["dataDir"] = temp / "data";
    return config;
  }
  Result<cni::AddResult> add(const json& config, const std::string& id = "c1",
                             const std::string& ifName = "eth0", const std::string& args = {}) {
    return kHostLocal.add(
        testing::makeRequest(kHostLocal, Command::kAdd, config, {id, ifName, args}));
  }
  std::string addText(const json& config, const std::string& id = "c1",
                      const std::string& ifName = "eth0", const std::string& args = {}) {
    const auto result = add(config, id, ifName, args);
    if (!result) return result.error().message;
    std::string text;
    for (const cni::IpConfig& ip : result->ips)
      text += (text.empty() ? "" : " ") + ip.address.text();
    return text;
  }
  Result<void> del(const json& config, const std::string& id = "c1",
                   const std::string& ifName = "eth0") {
    return kHostLocal.del(testing::makeRequest(kHostLocal, Command::kDel, config, {id, ifName}));
  }
  Result<void> check(json config, const std::vector<std::string>& ips,
                     const std::string& id = "c1") {
    for (const std::string& ip : ips)
      config["prevResult"]["ips"].push_back({{"address", ip}});
    return kHostLocal.check(testing::makeRequest(kHostLocal, Command::kCheck, config, {id}));
  }
  Result<void> gc(json config, const std::vector<cni::Attachment>& valid) {
    config["cni.dev/valid-attachments"] = json::array();
    for (const cni::Attachment& each : valid) {
      config["cni.dev/valid-attachments"].push_back(
          {{"containerID", each.containerId}, {"ifname", each.ifName}});
    }
    return kHostLocal.gc(testing::makeRequest(kHostLocal, Command::kGc, config));
  }
  Result<void> status(const json& config) {
    return kHostLocal.status(testing::makeRequest(kHostLocal, Command::kStatus, config));
  }
  std::string file(const std::string& name) const { return temp / ("data/net/" + name); }

  testing::TempDir temp;
};

TEST_F(HostLocalTest, AddAsksTheDaemonForPodsOnlyAndSaysTryAgainWithoutOne) {
  const json config = conf(
      R"({"ranges": [[{"subnet": "10.1.2.0/24"}]], "podAddresses": "/nonexistent/culvertd.sock"})");
  EXPECT_EQ(addText(config), "10.1.2.2/24") << "no pod's name, no question";
  const auto pod =
      add(config, "c2", "eth0", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0");
  ASSERT_FALSE(pod);
  EXPECT_EQ(pod.error().code, Errc::kTryAgain) << pod.error().message;
  EXPECT_FALSE(exists(temp / "data/net/10.1.2.3")) << "nothing may be reserved then";
}

TEST_F(HostLocalTest, AddReturnsAddressesGatewaysRoutesAndDns) {
  writeText(temp / "resolv.conf", "nameserver 192.0.2.3\nsearch example.org\n");
  json config = conf(R"({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.2.2.0/24"}],
      [{"subnet": "2001:db8:1::/64"}]],
      "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "192.168.0.0/16", "gw": "1.1.1.1"}]})");
  config["ipam"]["resolvConf"] = temp / "resolv.conf";
  const auto result = add(config);
  ASSERT_TRUE(result) << errorOf(result);
  ASSERT_EQ(result->ips.size(), 2U);
  EXPECT_EQ(result->ips[0].address.text(), "10.1.2.2/24");
  EXPECT_EQ(result->ips[0].gateway->text(), "10.1.2.1");
  EXPECT_EQ(result->ips[1].address.text(), "2001:db8:1::2/64");
  EXPECT_TRUE(result->interfaces.empty());
  EXPECT_FALSE(result->ips[0].interface);
  EXPECT_EQ(result->routes.size(), 3U);
  EXPECT_EQ(result->dns.nameservers, std::vector<std::string>{"192.0.2.3"});
  EXPECT_EQ(readText(file("10.1.2.2")), "c1\r\neth0");
  EXPECT_EQ(readText(file("last_reserved_ip.0")), "10.1.2.2");
  EXPECT_EQ(readText(file("last_reserved_ip.1")), "2001:db8:1::2");
}

TEST_F(HostLocalTest, DelReleasesEverythingAndRepeats) {
  const json config =
      conf(R"({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8::/64"}]]})");
  ASSERT_EQ(addText(config), "10.1.2.2/24 2001:db8::2/64");
  ASSERT_EQ(addText(config, "c2"), "10.1.2.3/24 2001:db8::3/64");
  EXPECT_TRUE(del(config));
  EXPECT_FALSE(exists(file("10.1.2.2")));
  EXPECT_FALSE(exists(file("2001:db8::2")));
  EXPECT_TRUE(exists(file("10.1.2.3")));
  EXPECT_TRUE(exists(file("last_reserved_ip.0")));
  EXPECT_TRUE(del(config));
  EXPECT_TRUE(del(config, "never-seen"));
}

TEST_F(HostLocalTest, DelOfANetworkNeverUsedCreatesNothing) {
  EXPECT_TRUE(del(conf()));
  EXPECT_FALSE(exists(temp / "data"));
}

TEST_F(HostLocalTest, DelWorksAfterTheRangesBecameInvalid) {
  ASSERT_EQ(addText(conf()), "10.1.2.2/24");
  EXPECT_TRUE(del(conf(R"({"ranges": "nonsense"})")));
  EXPECT_FALSE(exists(file("10.1.2.2")));
}

TEST_F(HostLocalTest, DelReleasesALegacyReservation) {
  ASSERT_EQ(addText(conf(), "c2"), "10.1.2.2/24");
  writeText(file("10.1.2.7"), "c1\n");
  EXPECT_TRUE(del(conf()));
  EXPECT_FALSE(exists(file("10.1.2.7")));
  EXPECT_TRUE(exists(file("10.1.2.2")));
}

TEST_F(HostLocalTest, TwoNetworksAndTwoInterfacesOfOneContainerAreApart) {
  json other = conf();
  other["name"] = "other";
  EXPECT_EQ(addText(conf()), "10.1.2.2/24");
  EXPECT_EQ(addText(other), "10.1.2.2/24");
  EXPECT_EQ(addText(conf(), "c1", "eth1"), "10.1.2.3/24");
  EXPECT_TRUE(del(conf(), "c1", "eth1"));
  EXPECT_TRUE(exists(file("10.1.2.2")));
  EXPECT_FALSE(exists(file("10.1.2.3")));
  EXPECT_TRUE(exists(temp / "data/other/10.1.2.2"));
  testing::collectAll(kHostLocal, other);
}

TEST_F(HostLocalTest, ASecondAddOfTheSameInterfaceIsRefused) {
  ASSERT_EQ(addText(conf()), "10.1.2.2/24");
  EXPECT_THAT(addText(conf()), HasSubstr("duplicate allocation is not allowed"));
  EXPECT_EQ(addText(conf(), "c2"), "10.1.2.3/24");
}

TEST_F(HostLocalTest, RequestedAddressesAreGivenFromEverySource) {
  EXPECT_EQ(addText(conf(), "c1", "eth0", "IP=10.1.2.88"), "10.1.2.88/24");
  json args = conf(R"({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8::/64"}]]})");
  args["args"]["cni"]["ips"] = {"10.1.2.89", "2001:db8::89/64"};
  EXPECT_EQ(addText(args, "c2"), "10.1.2.89/24 2001:db8::89/64");
  json runtime = conf();
  runtime["runtimeConfig"]["ips"] = {"10.1.2.90/24"};
  EXPECT_EQ(addText(runtime, "c3"), "10.1.2.90/24");
  EXPECT_EQ(addText(conf(), "c4", "eth0", "IP=10.1.2.90"),
            "failed to allocate for range 0: requested IP address 10.1.2.90 is not available in "
            "range set 10.1.2.1-10.1.2.254");
  EXPECT_EQ(addText(conf(), "c5", "eth0", "IP=10.9.9.9"),
            "failed to allocate all requested IPs: 10.9.9.9");
}

TEST_F(HostLocalTest, AMissingResolvConfFailsBeforeAnythingIsReserved) {
  json config = conf();
  config["ipam"]["resolvConf"] = "/no/such/file";
  EXPECT_THAT(addText(config), HasSubstr("ipam.resolvConf: open /no/such/file"));
  EXPECT_FALSE(exists(temp / "data"));
}

TEST_F(HostLocalTest, ANetworkNameTooLongForAFileIsAClearError) {
  json config = conf();
  config["name"] = std::string(300, 'n');
  EXPECT_THAT(addText(config), HasSubstr("File name too long"));
}

// CHECK

TEST_F(HostLocalTest, CheckPassesWhileEveryAddressIsOurs) {
  const json config =
      conf(R"({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8::/64"}]]})");
  ASSERT_EQ(addText(config), "10.1.2.2/24 2001:db8::2/64");
  EXPECT_TRUE(check(config, {"10.1.2.2/24", "2001:db8::2/64"}));
  EXPECT_TRUE(check(config, {"10.1.2.2/24", "172.16.0.1/24"})) << "another plugin's address";
  EXPECT_TRUE(check(config, {}));
}

TEST_F(HostLocalTest, CheckNamesWhatIsNotReserved) {
  const json config =
      conf(R"({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8::/64"}]]})");
  ASSERT_EQ(addText(config), "10.1.2.2/24 2001:db8::2/64");
  ASSERT_EQ(::unlink(file("10.1.2.2").c_str()), 0);
  const auto missing = check(config, {"10.1.2.2/24", "2001:db8::2/64"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kCheckFailed);
  EXPECT_EQ(missing.error().message,
            "host-local: not reserved for container c1, interface eth0: 10.1.2.2");
  EXPECT_TRUE(check(config, {})) << "one is still there";
  writeText(file("2001:db8::2"), "c2\r\neth0");
  EXPECT_FALSE(check(config, {"2001:db8::2/64"})) << "somebody else's now";
  EXPECT_FALSE(check(config, {}));
}

TEST_F(HostLocalTest, CheckFailsWithoutAnyReservationAndCreatesNothing) {
  EXPECT_FALSE(check(conf(), {}));
  EXPECT_FALSE(check(conf(), {"10.1.2.2/24"}));
  EXPECT_FALSE(exists(temp / "data"));
}

TEST_F(HostLocalTest, CheckAcceptsALegacyReservation) {
  ASSERT_EQ(addText(conf()), "10.1.2.2/24");
  writeText(file("10.1.2.2"), "c1");
  EXPECT_TRUE(check(conf(), {"10.1.2.2/24"}));
}

// GC

TEST_F(HostLocalTest, GcReleasesWhatIsNotValid) {
  for (const char* id : {"c1", "c2", "c3"})
    addText(conf(), id);
  writeText(file("10.1.2.50"), "c1");
  writeText(file("10.1.2.51"), "c9");
  writeText(file("10.1.2.52"), "");
  writeText(file("10.1.2.53"), "reserved by ops");
  writeText(file("notes"), "c9");
  ASSERT_TRUE(gc(conf(), {{"c1", "eth0"}, {"c3", "eth0"}}));
  for (const char* kept :
       {"10.1.2.2", "10.1.2.4", "10.1.2.50", "10.1.2.53", "notes", "lock", "last_reserved_ip.0"}) {
    EXPECT_TRUE(exists(file(kept))) << kept;
  }
  for (const char* gone : {"10.1.2.3", "10.1.2.51", "10.1.2.52"})
    EXPECT_FALSE(exists(file(gone))) << gone;
}

TEST_F(HostLocalTest, GcOfAnEmptyListReleasesAllAndWithoutAListNothing) {
  ASSERT_EQ(addText(conf()), "10.1.2.2/24");
  ASSERT_TRUE(kHostLocal.gc(testing::makeRequest(kHostLocal, Command::kGc, conf())));
  EXPECT_TRUE(exists(file("10.1.2.2")));
  ASSERT_TRUE(gc(conf(), {}));
  EXPECT_FALSE(exists(file("10.1.2.2")));
}

TEST_F(HostLocalTest, GcOfOneNetworkLeavesTheOthersAlone) {
  json other = conf();
  other["name"] = "other";
  ASSERT_EQ(addText(other), "10.1.2.2/24");
  ASSERT_TRUE(gc(conf(), {})) << "and a missing directory is fine";
  EXPECT_FALSE(exists(temp / "data/net"));
  EXPECT_TRUE(exists(temp / "data/other/10.1.2.2"));
  testing::collectAll(kHostLocal, other);
}

TEST_F(HostLocalTest, GcGoesOnPastWhatItCannotRemove) {
  ASSERT_EQ(addText(conf()), "10.1.2.2/24");
  ASSERT_EQ(addText(conf(), "c2"), "10.1.2.3/24");
  const std::string immutable = file("10.1.2.2");
  if (std::system(("chattr +i " + immutable + " 2>/dev/null").c_str()) != 0) {
    GTEST_SKIP() << "no immutable files here (needs root and ext4)";
  }
  const auto outcome = gc(conf(), {});
  EXPECT_EQ(std::system(("chattr -i " + immutable).c_str()), 0);
  EXPECT_THAT(errorOf(outcome), HasSubstr("remove 10.1.2.2: Operation not permitted"));
  EXPECT_FALSE(exists(file("10.1.2.3")));
}

// STATUS

TEST_F(HostLocalTest, StatusIsFineBeforeTheFirstAddAndLeavesNoTrace) {
  EXPECT_TRUE(status(conf()));
  EXPECT_FALSE(exists(temp / "data"));
  ASSERT_EQ(addText(conf()), "10.1.2.2/24");
  EXPECT_TRUE(status(conf()));
}

TEST_F(HostLocalTest, StatusNamesEveryExhaustedSet) {
  const json config = conf(R"({"ranges": [[{"subnet": "10.1.2.0/30"}], [{"subnet": "10.1.3.0/24"}],
      [{"subnet": "2001:db8::/126", "rangeEnd": "2001:db8::2"}]]})");
  ASSERT_EQ(addText(config), "10.1.2.2/30 10.1.3.2/24 2001:db8::2/126");
  const auto outcome = status(config);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kNotAvailable);
  EXPECT_EQ(outcome.error().message,
            "no IP addresses available in range set: 10.1.2.1-10.1.2.2; "
            "no IP addresses available in range set: 2001:db8::1-2001:db8::2");
  EXPECT_TRUE(del(config));
  EXPECT_TRUE(status(config));
}

TEST_F(HostLocalTest, StatusSaysWhyTheDirectoryIsOfNoUse) {
  writeText(temp / "data", "a file");
  EXPECT_EQ(status(conf()).error().code, Errc::kNotAvailable);
  EXPECT_THAT(errorOf(status(conf())), HasSubstr("Not a directory"));
  std::filesystem::remove(temp / "data");
  std::filesystem::create_directories(file("lock"));
  EXPECT_THAT(errorOf(status(conf())), HasSubstr("lock is not a regular file"));
}

TEST_F(HostLocalTest, StatusReportsABadConfigurationAsSuch) {
  const auto outcome = status(conf(R"({"ranges": [[{"subnet": "10.1.2.3/24"}]]})"));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kInvalidConfig);
}

// Together

TEST_F(HostLocalTest, TwoHundredAddsAtOnceGetTwoHundredAddresses) {
  constexpr int kAdds = 200;
  std::vector<pid_t> children;
  for (int i = 0; i < kAdds; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(add(conf(), "c" + std::to_string(i)) ? 0 : 1);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    EXPECT_EQ(state, 0);
  }
  std::set<std::string> owners;
  for (int n = 2; n < 2 + kAdds; ++n)
    owners.insert(readText(file("10.1.2." + std::to_string(n))));
  EXPECT_EQ(owners.size(), static_cast<std::size_t>(kAdds));
  for (int i = 0; i < kAdds; ++i)
    EXPECT_TRUE(del(conf(), "c" + std::to_string(i)));
  EXPECT_EQ(testing::countEntries(temp / "data/net"), 2U) << "the lock and the hint remain";
}

}  // namespace
}  // namespace culvert::ipam
