#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "base/digest.h"
#include "base/file.h"
#include "base/ip.h"
#include "base/mac.h"
#include "base/netns.h"

namespace culvert {
namespace {

TEST(IpAddress, ReadsAndPrintsBothFamiliesCanonically) {
  EXPECT_EQ(IpAddress::parse("10.1.2.3")->text(), "10.1.2.3");
  EXPECT_EQ(IpAddress::parse("2001:DB8:0:0::5")->text(), "2001:db8::5");
  EXPECT_EQ(IpAddress::parse("::ffff:10.0.0.1")->text(), "10.0.0.1");
}

TEST(IpAddress, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "10.1.2", "10.1.2.256", "10.1.2.3 ", "1:2", "host", "10.1.2.3/24"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("10.0.0.1\0x", 10)));
}

TEST(IpAddress, CountsAcrossByteBorders) {
  EXPECT_EQ(IpAddress::parse("10.0.0.255")->next().text(), "10.0.1.0");
  EXPECT_EQ(IpAddress::parse("10.0.1.0")->previous().text(), "10.0.0.255");
  EXPECT_EQ(IpAddress::parse("255.255.255.255")->next().text(), "0.0.0.0");
  EXPECT_EQ(IpAddress::parse("2001:db8::ffff")->next().text(), "2001:db8::1:0");
  EXPECT_EQ(IpAddress::parse("::")->previous().text(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

TEST(IpAddress, KnowsLoopback) {
  for (const char* text : {"127.0.0.1", "127.255.0.9", "::1"})
    EXPECT_TRUE(IpAddress::parse(text)->isLoopback()) << text;
  for (const char* text : {"126.0.0.1", "0.0.0.127", "::", "::2", "7f00::1"})
    EXPECT_FALSE(IpAddress::parse(text)->isLoopback()) << text;
}

TEST(IpAddress, OrdersNumerically) {
  EXPECT_LT(*IpAddress::parse("9.0.0.1"), *IpAddress::parse("10.0.0.1"));
  EXPECT_LT(*IpAddress::parse("10.0.0.1"), *IpAddress::parse("::1"));
}

TEST(IpPrefix, KeepsHostBitsAndKnowsItsNetwork) {
  const IpPrefix prefix = *IpPrefix::parse("10.1.2.77/26");
  EXPECT_EQ(prefix.text(), "10.1.2.77/26");
  EXPECT_EQ(prefix.network().text(), "10.1.2.64/26");
  EXPECT_EQ(prefix.last().text(), "10.1.2.127");
  EXPECT_TRUE(prefix.contains(*IpAddress::parse("10.1.2.100")));
  EXPECT_FALSE(prefix.contains(*IpAddress::parse("10.1.2.128")));
  EXPECT_FALSE(prefix.contains(*IpAddress::parse("::1")));
  EXPECT_EQ(IpPrefix::parse("::ffff:10.0.0.1/120")->text(), "10.0.0.1/24");
}

TEST(IpPrefix, KnowsOverlapsWhicheverIsLarger) {
  const IpPrefix wide = *IpPrefix::parse("2001:db8::/32");
  const IpPrefix narrow = *IpPrefix::parse("2001:db8:1::/64");
  EXPECT_TRUE(wide.overlaps(narrow));
  EXPECT_TRUE(narrow.overlaps(wide));
  EXPECT_FALSE(narrow.overlaps(*IpPrefix::parse("2001:db8:2::/64")));
  EXPECT_TRUE(IpPrefix::parse("0.0.0.0/0")->overlaps(*IpPrefix::parse("10.0.0.0/8")));
}

TEST(IpPrefix, RefusesBadLengths) {
  for (const char* text :
       {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "::/129"}) {
    EXPECT_FALSE(IpPrefix::parse(text)) << text;
  }
}

TEST(MacAddress, ReadsTheThreeSpellings) {
  for (const char* text : {"0A:58:0a:16:00:02", "0a-58-0a-16-00-02", "0a58.0a16.0002"}) {
    ASSERT_TRUE(MacAddress::parse(text)) << text;
    EXPECT_EQ(MacAddress::parse(text)->text(), "0a:58:0a:16:00:02");
  }
  for (const char* text :
       {"", "0a:58:0a:16:00", "0a:58:0a:16:00:0g", "0a:58-0a:16:00:02", "0a5:80a:16:00:02"}) {
    EXPECT_FALSE(MacAddress::parse(text)) << text;
  }
}

TEST(MacAddress, RandomOnesAreLocalUnicast) {
  const MacAddress mac = MacAddress::random();
  EXPECT_TRUE(mac.isUnicast());
  EXPECT_EQ(mac.bytes()[0] & 2, 2);
  EXPECT_NE(mac, MacAddress::random());
}

TEST(Digest, IsSha512) {
  EXPECT_EQ(sha512Hex("abc", 32), "ddaf35a193617abacc417349ae204131");
  EXPECT_EQ(sha512Hex("", 128).size(), 128U);
}

TEST(Result, ContextNamesEveryLayerOutermostFirst) {
  const auto inner = []() -> Result<int> { return fromErrno(ENODEV, "find link"); };
  const auto outer = [&]() -> Result<void> {
    TRY(inner().context("configure eth0"));
    return {};
  };
  const Result<void> outcome = outer();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kNotFound);
  EXPECT_EQ(outcome.error().message, "configure eth0: find link: No such device");
}

TEST(FirstErrorTest, KeepsTheFirstCodeAndEveryMessage) {
  FirstError outcome;
  outcome.note({});
  outcome.note(makeError(Errc::kTryAgain, "one"));
  outcome.note(makeError(Errc::kIo, "two"));
  const Result<void> result = std::move(outcome).take();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kTryAgain);
  EXPECT_EQ(result.error().message, "one; two");
}

TEST(File, ReadingStopsAtTheLimit) {
  const UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const auto data = readAll(zero.get(), 100000);
  ASSERT_FALSE(data);
  EXPECT_EQ(data.error().code, Errc::kDecode);
}

TEST(File, ADirectoryIsListedWholeOrIsNotThere) {
  const std::string folder = ::testing::TempDir() + "culvert-list-test";
  EXPECT_EQ(listDirectory(folder).error().code, Errc::kNotFound);
  ASSERT_TRUE(ensureDirectory(folder, 0700));
  EXPECT_THAT(listDirectory(folder).value(), ::testing::IsEmpty());
  ASSERT_TRUE(replaceFile(folder + "/.hidden", "", 0600));
  ASSERT_TRUE(replaceFile(folder + "/one", "", 0600));
  EXPECT_THAT(listDirectory(folder).value(), ::testing::UnorderedElementsAre(".hidden", "one"));
  EXPECT_EQ(listDirectory(folder + "/one").error().sysErrno, ENOTDIR);
  ASSERT_TRUE(removeFile(folder + "/one"));
  ASSERT_TRUE(removeFile(folder + "/.hidden"));
  ASSERT_EQ(::rmdir(folder.c_str()), 0);
}

TEST(NetNsTest, OnlyNetworkNamespacesAreOpened) {
  EXPECT_EQ(NetNs::open("/run/netns/no-such-namespace").error().code, Errc::kNotFound);
  EXPECT_EQ(NetNs::open("/etc/passwd").error().code, Errc::kInvalidNetns);
  EXPECT_EQ(NetNs::open("/tmp").error().code, Errc::kInvalidNetns);
  EXPECT_EQ(NetNs::open("/proc/self/ns/mnt").error().code, Errc::kInvalidNetns);
  EXPECT_TRUE(NetNs::open("/proc/self/ns/net")->sameAs(*NetNs::current()));
}

TEST(File, ReplaceMakesTheContentWholeAndPrivate) {
  const std::string folder = ::testing::TempDir() + "culvert-file-test";
  ASSERT_TRUE(ensureDirectory(folder, 0700));
  const std::string path = folder + "/record";
  ASSERT_TRUE(replaceFile(path, "first", 0600));
  ASSERT_TRUE(replaceFile(path + ".new", "left by a crash", 0600));
  ASSERT_TRUE(replaceFile(path, "second", 0600));
  EXPECT_EQ(readFile(path, 100).value(), "second");
  EXPECT_EQ(readFile(path + ".new", 100).error().code, Errc::kNotFound);
  ASSERT_TRUE(removeFile(path));
  EXPECT_TRUE(removeFile(path)) << "twice is fine";
  EXPECT_EQ(readFile(path, 100).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace culvert
