#include "ipam/dhcp/protocol.h"

#include <gtest/gtest.h>

#include "ipam/test_util.h"

using namespace std::string_literals;

namespace culvert::ipam::dhcp {
namespace {

Order order() {
  return {.containerId = "c1",
          .network = "net",
          .ifName = "eth0",
          .netns = "/run/netns/c1",
          .v4 = true,
          .v6 = true,
          .provide = {{61, "\0me"s}, {12, "caf\xe9"}},
          .request = {1, 3}};
}

Leases leases() {
  cni::Route route;
  route.dst = *IpPrefix::parse("10.0.0.0/8");
  route.scope = 253;
  return {.v4 = Lease4{.address = *IpPrefix::parse("10.1.2.3/24"),
                       .gateway = *IpAddress::parse("10.1.2.1"),
                       .routes = {route},
                       .dns = {.nameservers = {"10.1.2.53"},
                               .domain = "a.test",
                               .search = {"b.test"},
                               .options = {}},
                       .mtuBytes = 1400,
                       .server = *IpAddress::parse("10.1.2.1"),
                       .serverMac = *MacAddress::parse("02:00:00:00:00:01"),
                       .schedule = {Instant(1), Instant(2), Instant(3)}},
          .v6 = Lease6{.address = *IpPrefix::parse("fd00::5/128"),
                       .dns = {},
                       .serverId = "\0\1x"s,
                       .schedule = {}}};
}

TEST(Record, ReadsWhatItWrote) {
  const Record record{
      .order = order(),
      .place = {.device = 4, .inode = 4026531840, .mac = *MacAddress::parse("02:00:00:00:00:02")},
      .leases = leases(),
      .bootId = "boot"};
  const auto parsed = parseRecord(toJson(record).dump());
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, record);
}

TEST(Record, NamesTheFieldThatIsWrong) {
  nlohmann::json object = toJson(Record{.order = order(), .leases = leases(), .bootId = ""});
  object["leases"]["v4"]["expiresAt"] = 1;
  EXPECT_FALSE(parseRecord(object.dump())) << "out of order";
  object = toJson(Record{.order = order(), .leases = leases(), .bootId = ""});
  object["leases"]["v4"]["expiresAt"] = INT64_MAX;
  EXPECT_FALSE(parseRecord(object.dump())) << "for ever only as a whole";
  object = toJson(Record{.order = order(), .leases = leases(), .bootId = ""});
  object["leases"]["v4"]["address"] = "fd00::1/64";
  EXPECT_NE(testing::errorOf(parseRecord(object.dump())).find("address"), std::string::npos);
  for (const char* bad : {"", "[]", "{}", "{\"order\":1,\"leases\":1}", "null"})
    EXPECT_FALSE(parseRecord(bad)) << bad;
}

TEST(Record, IsNamedByNetworkAndAttachment) {
  EXPECT_EQ(order().key().size(), 33U);
  EXPECT_EQ(order().key(), recordKey("net", "c1", "eth0"));
  EXPECT_NE(recordKey("net", "c1", "eth0"), recordKey("net", "c1", "eth1"));
  EXPECT_TRUE(order().key().starts_with(networkPart("net")));
}

TEST(Store, KeepsListsAndRemovesRecords) {
  testing::TempDir folder;
  const Store store(folder / "state");
  EXPECT_TRUE(store.list()->empty()) << "no directory is no record";
  ASSERT_TRUE(store.ensure());
  const Record record{.order = order(), .leases = leases(), .bootId = "boot"};
  ASSERT_TRUE(store.write(record));
  testing::writeText(folder / "state/lock", "");
  EXPECT_EQ(store.list()->size(), 1U);
  EXPECT_EQ(store.list("net")->size(), 1U);
  EXPECT_TRUE(store.list("other")->empty());
  EXPECT_EQ(*store.read(record.order.key()), record);
  ASSERT_TRUE(store.remove(record.order.key()));
  EXPECT_FALSE(store.contains(record.order.key()));
  EXPECT_EQ(store.read(record.order.key()).error().code, Errc::kNotFound);
  EXPECT_TRUE(store.remove(record.order.key()));
}

TEST(Protocol, ReadsTheRequestsItWrote) {
  for (const DaemonRequest& request :
       {DaemonRequest{.method = Method::kAllocate, .order = order(), .network = {}, .valid = {}},
        DaemonRequest{
            .method = Method::kCollect, .order = {}, .network = "net", .valid = {{"c1", "eth0"}}},
        DaemonRequest{.method = Method::kPing}}) {
    const auto parsed = parseRequest(renderRequest(request));
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(*parsed, request);
  }
}

TEST(Protocol, ReadsTheAnswersItWrote) {
  EXPECT_EQ(*parseAnswer(renderAnswer(leases())), leases());
  const auto error = parseAnswer(renderAnswer(makeError(Errc::kTryAgain, "later", "why")));
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, Errc::kTryAgain);
  EXPECT_EQ(error.error().message, "later");
  EXPECT_EQ(error.error().details, "why");
}

TEST(Protocol, TakesOnlyWholeMessagesOfBoundedLength) {
  const std::string bytes = framed("hello") + "more";
  for (std::size_t size = 0; size < 9; ++size)
    EXPECT_FALSE(*unframed(bytes.substr(0, size), 100)) << size;
  EXPECT_EQ(**unframed(bytes, 100), "hello");
  EXPECT_FALSE(unframed(bytes, 4));
}

}  // namespace
}  // namespace culvert::ipam::dhcp
