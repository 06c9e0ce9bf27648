#include "ipam/host_local/resolv_conf.h"

#include "ipam/test_util.h"

namespace culvert::ipam {
namespace {

using Strings = std::vector<std::string>;

TEST(ResolvConf, OfOneNameserver) {
  EXPECT_EQ(parseResolvConf("nameserver 192.0.2.0\n"),
            (cni::Dns{.nameservers = {"192.0.2.0"}, .domain = "", .search = {}, .options = {}}));
}

TEST(ResolvConf, CommentsBlankAndShortLinesSayNothing) {
  EXPECT_EQ(parseResolvConf("# nameserver 1.1.1.1\n\n;search x\n  \nnameserver\n#\n;\n"),
            cni::Dns{});
}

TEST(ResolvConf, HasAllFieldsAndAddsUpLists) {
  const cni::Dns dns = parseResolvConf(
      "nameserver 192.0.2.0\r\n"
      "\tnameserver   2001:db8::1\n"
      "domain example.com\n"
      "search example.net example.org\nsearch example.info\n"
      "options debug ndots:1\n"
      "sortlist 130.155.160.0\n"
      "domain last.example");
  EXPECT_EQ(dns.nameservers, (Strings{"192.0.2.0", "2001:db8::1"}));
  EXPECT_EQ(dns.domain, "last.example");
  EXPECT_EQ(dns.search, (Strings{"example.net", "example.org", "example.info"}));
  EXPECT_EQ(dns.options, (Strings{"debug", "ndots:1"}));
}

TEST(ResolvConf, ThatIsMissingIsNamed) {
  const auto dns = readResolvConf("/no/such/resolv.conf");
  ASSERT_FALSE(dns);
  EXPECT_EQ(dns.error().message, "open /no/such/resolv.conf: No such file or directory");
}

TEST(ResolvConf, ThatIsAFifoDoesNotHang) {
  const testing::TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  const auto dns = readResolvConf(dir / "fifo");
  ASSERT_TRUE(dns);
  EXPECT_TRUE(dns->empty());
}

}  // namespace
}  // namespace culvert::ipam
