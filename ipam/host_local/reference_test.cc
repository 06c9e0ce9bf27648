// The reference plugin and ours on one directory, taking turns.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipam/host_local/host_local.h"
#include "ipam/test_util.h"

namespace culvert::ipam {
namespace {

using cni::Command;
using nlohmann::json;
using testing::exists;
using ::testing::HasSubstr;
using testing::readText;

constexpr char kReference[] = "/usr/lib/cni/host-local";  // Debian: containernetworking-plugins

class ReferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access(kReference, X_OK) != 0) GTEST_SKIP() << kReference << " is not installed";
  }
  void TearDown() override { testing::collectAll(kHostLocal, conf()); }
  json conf() const {
    return {{"cniVersion", "1.0.0"},
            {"name", "net"},
            {"ipam",
             {{"type", "host-local"},
              {"dataDir", temp / "data"},
              {"ranges", json::array({json::array({{{"subnet", "10.1.2.0/28"}}})})}}}};
  }
  /// The address that ADD gave, or all that the plugin printed.
  std::string theirs(const char* command, const std::string& id) const {
    testing::writeText(temp / "stdin", conf().dump());
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(::open((temp / "stdin").c_str(), O_RDONLY), STDIN_FILENO);
      ::dup2(::open((temp / "stdout").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
      ::clearenv();
      ::setenv("CNI_COMMAND", command, 1);
      ::setenv("CNI_CONTAINERID", id.c_str(), 1);
      ::setenv("CNI_NETNS", "/run/netns/none", 1);
      ::setenv("CNI_IFNAME", "eth0", 1);
      ::setenv("CNI_PATH", "/usr/lib/cni", 1);
      ::execl(kReference, kReference, nullptr);
      ::_exit(127);
    }
    ::waitpid(child, nullptr, 0);
    std::string output = readText(temp / "stdout");
    const json parsed = json::parse(output, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("ips")) return output;
    return parsed["ips"][0]["address"];
  }
  std::string ours(const std::string& id) const {
    const auto result =
        kHostLocal.add(testing::makeRequest(kHostLocal, Command::kAdd, conf(), {id}));
    return result ? result->ips[0].address.text() : result.error().message;
  }
  Result<void> oursDel(const std::string& id) const {
    return kHostLocal.del(testing::makeRequest(kHostLocal, Command::kDel, conf(), {id}));
  }
  std::string file(const std::string& name) const { return temp / ("data/net/" + name); }

  testing::TempDir temp;
};

TEST_F(ReferenceTest, BothContinueEachOthersRoundRobin) {
  EXPECT_EQ(ours("a"), "10.1.2.2/28");
  EXPECT_EQ(theirs("ADD", "b"), "10.1.2.3/28");
  EXPECT_EQ(ours("c"), "10.1.2.4/28");
  EXPECT_EQ(theirs("ADD", "d"), "10.1.2.5/28");
  EXPECT_EQ(readText(file("10.1.2.4")).size(), readText(file("10.1.2.5")).size());
}

TEST_F(ReferenceTest, BothRefuseADuplicateOfTheOther) {
  EXPECT_EQ(ours("a"), "10.1.2.2/28");
  EXPECT_THAT(theirs("ADD", "a"), HasSubstr("duplicate allocation is not allowed"));
  EXPECT_EQ(theirs("ADD", "b"), "10.1.2.3/28");
  EXPECT_THAT(ours("b"), HasSubstr("duplicate allocation is not allowed"));
}

TEST_F(ReferenceTest, EachReleasesWhatTheOtherReserved) {
  EXPECT_EQ(ours("a"), "10.1.2.2/28");
  EXPECT_EQ(theirs("ADD", "b"), "10.1.2.3/28");
  EXPECT_EQ(theirs("DEL", "a"), "");
  EXPECT_FALSE(exists(file("10.1.2.2")));
  EXPECT_TRUE(oursDel("b"));
  EXPECT_FALSE(exists(file("10.1.2.3")));
}

TEST_F(ReferenceTest, TheIndexNoticesEveryTurnOfTheOther) {
  for (int round = 0; round < 10; ++round) {
    ASSERT_TRUE(oursDel("warm-up"));
    const std::string id = "c" + std::to_string(round);
    const std::string address = theirs("ADD", id);
    ASSERT_THAT(address, HasSubstr("10.1.2."));
    ASSERT_TRUE(oursDel(id));
    EXPECT_FALSE(exists(file(address.substr(0, address.find('/')))));
  }
}

}  // namespace
}  // namespace culvert::ipam
