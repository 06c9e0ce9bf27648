#include "ipam/host_local/allocator.h"

#include <gmock/gmock.h>

#include <map>

namespace culvert::ipam {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

IpAddress ip(const std::string& text) {
  return IpAddress::parse(text).value();
}

Range range(const std::string& subnet, const std::string& start, const std::string& end,
            const std::string& gateway) {
  return {IpPrefix::parse(subnet).value(), ip(start), ip(end), ip(gateway)};
}

/// 10.0.0.1 .. `last`, gateway 10.0.0.1
Range small(const std::string& last) {
  return range("10.0.0.0/24", "10.0.0.1", last, "10.0.0.1");
}

/// Reservations in memory. Can be told to fail at one address, and counts what it is asked.
class FakeStore : public ReservationStore {
 public:
  Result<bool> isReserved(const IpAddress& address) const override {
    ++asked;
    return reservations.contains(address);
  }
  Result<std::set<IpAddress>> listReserved() const override {
    ++listed;
    std::set<IpAddress> all;
    for (const auto& [address, owner] : reservations)
      all.insert(address);
    all.insert(empty.begin(), empty.end());
    return all;
  }
  std::optional<IpAddress> lastReserved(std::size_t set) const override {
    const auto found = last.find(set);
    return found == last.end() ? std::nullopt : std::optional(found->second);
  }
  Result<bool> reserve(const IpAddress& address, const Owner& owner) override {
    ++asked;
    if (address == failing) return fromErrno(ENOSPC, "create " + address.text());
    return reservations.emplace(address, owner).second;
  }
  Result<void> release(const IpAddress& address) override {
    reservations.erase(address);
    return {};
  }
  Result<std::vector<IpAddress>> findByOwner(const Owner& owner) override {
    std::vector<IpAddress> found;
    for (const auto& [address, who] : reservations) {
      if (who == owner) found.push_back(address);
    }
    return found;
  }
  void rememberLast(std::size_t set, const IpAddress& address) override { last[set] = address; }

  std::map<IpAddress, Owner> reservations;
  std::set<IpAddress> empty;  // free, though their names are there
  std::map<std::size_t, IpAddress> last;
  std::optional<IpAddress> failing;
  mutable std::size_t asked = 0, listed = 0;
};

const Owner kOwner{"c1", "eth0"};
const Owner kOther{"c2", "eth0"};

HostLocalConfig configOf(std::vector<RangeSet> sets, std::vector<IpAddress> requested = {}) {
  HostLocalConfig config;
  config.sets = std::move(sets);
  config.requested = std::move(requested);
  return config;
}

/// The addresses of an ADD by a new container, or the error's text.
std::string add(FakeStore& store, const HostLocalConfig& config, const Owner& owner = kOwner) {
  const auto ips = allocate(store, config, owner);
  if (!ips) return ips.error().message;
  std::string text;
  for (const cni::IpConfig& each : *ips)
    text += (text.empty() ? "" : " ") + each.address.text();
  return text;
}

std::vector<std::string> walk(const RangeSet& set, const char* last = nullptr) {
  AddressCursor cursor(set, last == nullptr ? std::nullopt : IpAddress::parse(last));
  std::vector<std::string> texts;
  while (const auto position = cursor.next())
    texts.push_back(position->address.text());
  return texts;
}

TEST(AddressCursor, StartsAtTheBeginningAndSkipsTheGateway) {
  EXPECT_THAT(walk({small("10.0.0.4")}), ElementsAre("10.0.0.2", "10.0.0.3", "10.0.0.4"));
}

TEST(AddressCursor, GoesOnAfterTheLastOneAndAround) {
  EXPECT_THAT(walk({small("10.0.0.4")}, "10.0.0.3"),
              ElementsAre("10.0.0.4", "10.0.0.2", "10.0.0.3"));
  EXPECT_THAT(walk({small("10.0.0.4")}, "10.0.0.4"),
              ElementsAre("10.0.0.2", "10.0.0.3", "10.0.0.4"));
}

TEST(AddressCursor, IgnoresALastOneOutsideTheSet) {
  EXPECT_THAT(walk({small("10.0.0.3")}, "10.0.0.9"), ElementsAre("10.0.0.2", "10.0.0.3"));
  EXPECT_THAT(walk({small("10.0.0.3")}, "2001:db8::1"), ElementsAre("10.0.0.2", "10.0.0.3"));
}

TEST(AddressCursor, CrossesFromTheEndOfOneRangeIntoTheNext) {
  const RangeSet set{small("10.0.0.3"), range("10.9.0.0/24", "10.9.0.7", "10.9.0.8", "10.9.0.8")};
  EXPECT_THAT(walk(set), ElementsAre("10.0.0.2", "10.0.0.3", "10.9.0.7"));
  EXPECT_THAT(walk(set, "10.0.0.3"), ElementsAre("10.9.0.7", "10.0.0.2", "10.0.0.3"));
  EXPECT_THAT(walk(set, "10.9.0.8"), ElementsAre("10.0.0.2", "10.0.0.3", "10.9.0.7"));
}

TEST(AddressCursor, OfARangeThatIsAllGatewayIsEmpty) {
  EXPECT_TRUE(walk({small("10.0.0.1")}).empty());
}

TEST(AddressCursor, EndsAtTheVeryLastAddresses) {
  const RangeSet v4{
      range("255.255.255.252/30", "255.255.255.253", "255.255.255.255", "255.255.255.253")};
  EXPECT_THAT(walk(v4), ElementsAre("255.255.255.254", "255.255.255.255"));
  const std::string top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff";
  const RangeSet v6{range(top + "c/126", top + "d", top + "f", top + "d")};
  EXPECT_THAT(walk(v6), ElementsAre(top + "e", top + "f"));
}

TEST(Allocate, GoesRoundInsteadOfReusingWhatWasJustReleased) {
  FakeStore store;
  const auto config = configOf({{small("10.0.0.4")}});
  EXPECT_EQ(add(store, config, {"a", "eth0"}), "10.0.0.2/24");
  store.reservations.clear();
  EXPECT_EQ(add(store, config, {"b", "eth0"}), "10.0.0.3/24");
  EXPECT_EQ(add(store, config, {"c", "eth0"}), "10.0.0.4/24");
  EXPECT_EQ(add(store, config, {"d", "eth0"}), "10.0.0.2/24");
}

TEST(Allocate, GivesOneAddressPerSetWithItsGateway) {
  FakeStore store;
  const auto config = configOf(
      {{small("10.0.0.9")}, {range("2001:db8::/64", "2001:db8::1", "2001:db8::f", "2001:db8::1")}});
  const auto ips = allocate(store, config, kOwner);
  ASSERT_TRUE(ips);
  ASSERT_EQ(ips->size(), 2U);
  EXPECT_EQ((*ips)[0].address.text(), "10.0.0.2/24");
  EXPECT_EQ((*ips)[0].gateway->text(), "10.0.0.1");
  EXPECT_EQ((*ips)[1].address.text(), "2001:db8::2/64");
  EXPECT_EQ((*ips)[1].gateway->text(), "2001:db8::1");
  EXPECT_EQ(store.last[0].text(), "10.0.0.2");
  EXPECT_EQ(store.last[1].text(), "2001:db8::2");
}

TEST(Allocate, SaysWhichRangesAreExhausted) {
  FakeStore store;
  const auto config =
      configOf({{small("10.0.0.2"), range("10.9.0.0/24", "10.9.0.7", "10.9.0.7", "10.9.0.1")}});
  EXPECT_EQ(add(store, config, {"a", "eth0"}), "10.0.0.2/24");
  EXPECT_EQ(add(store, config, {"b", "eth0"}), "10.9.0.7/24");
  const auto third = allocate(store, config, {"c", "eth0"});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, Errc::kExhausted);
  EXPECT_EQ(third.error().message,
            "failed to allocate for range 0: no IP addresses available in range set: "
            "10.0.0.1-10.0.0.2,10.9.0.7-10.9.0.7");
}

TEST(Allocate, RefusesASecondAddressForTheSameInterface) {
  FakeStore store;
  const auto config = configOf({{small("10.0.0.9")}});
  EXPECT_EQ(add(store, config), "10.0.0.2/24");
  EXPECT_THAT(add(store, config),
              HasSubstr("10.0.0.2 has been allocated to c1, duplicate allocation is not allowed"));
  EXPECT_EQ(add(store, config, {"c1", "eth1"}), "10.0.0.3/24")
      << "another interface is another matter";
  EXPECT_EQ(add(store, configOf({{small("10.0.0.9")}}), kOther), "10.0.0.4/24");
}

TEST(Allocate, AnAddressOfAnotherSetIsNoDuplicate) {
  FakeStore store;
  store.reservations.emplace(ip("10.9.0.5"), kOwner);
  EXPECT_EQ(add(store, configOf({{small("10.0.0.9")}})), "10.0.0.2/24");
}

TEST(Allocate, GivesTheRequestedAddress) {
  FakeStore store;
  EXPECT_EQ(add(store, configOf({{small("10.0.0.9")}}, {ip("10.0.0.7")})), "10.0.0.7/24");
  EXPECT_EQ(store.last[0].text(), "10.0.0.7") << "as the reference plugin notes it";
}

TEST(Allocate, MatchesRequestsToTheirSets) {
  FakeStore store;
  const RangeSet v6{range("2001:db8::/64", "2001:db8::1", "2001:db8::ff", "2001:db8::1")};
  const RangeSet other{range("10.9.0.0/24", "10.9.0.1", "10.9.0.99", "10.9.0.1")};
  EXPECT_EQ(
      add(store, configOf({{small("10.0.0.9")}, other, v6}, {ip("2001:db8::42"), ip("10.9.0.50")})),
      "10.0.0.2/24 10.9.0.50/24 2001:db8::42/64");
}

TEST(Allocate, RefusesARequestedAddressThatIsTakenOrTheGateway) {
  FakeStore store;
  store.reservations.emplace(ip("10.0.0.7"), kOther);
  const auto taken = allocate(store, configOf({{small("10.0.0.9")}}, {ip("10.0.0.7")}), kOwner);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("requested IP address 10.0.0.7 is not available in "
                                               "range set 10.0.0.1-10.0.0.9"));
  const auto gateway = allocate(store, configOf({{small("10.0.0.9")}}, {ip("10.0.0.1")}), kOwner);
  ASSERT_FALSE(gateway);
  EXPECT_EQ(gateway.error().code, Errc::kInvalidConfig);
  EXPECT_THAT(gateway.error().message, HasSubstr("requested ip 10.0.0.1 is subnet's gateway"));
  EXPECT_EQ(store.reservations.size(), 1U);
}

TEST(Allocate, RefusesRequestsThatNoSetServesBeforeItReservesAnything) {
  FakeStore store;
  const auto config = configOf({{small("10.0.0.9")}},
                               {ip("10.0.0.7"), ip("10.0.0.8"), ip("10.0.0.10"), ip("10.0.0.0")});
  const auto ips = allocate(store, config, kOwner);
  ASSERT_FALSE(ips);
  EXPECT_EQ(ips.error().message,
            "failed to allocate all requested IPs: 10.0.0.8 10.0.0.10 10.0.0.0");
  EXPECT_EQ(store.asked, 0U);
}

TEST(Allocate, ReleasesOnlyWhatItTookWhenALaterSetFails) {
  FakeStore store;
  const RangeSet full{range("10.9.0.0/24", "10.9.0.1", "10.9.0.2", "10.9.0.1")};
  store.reservations.emplace(ip("10.9.0.2"), kOther);
  store.reservations.emplace(ip("10.8.0.1"), kOwner);
  EXPECT_THAT(add(store, configOf({{small("10.0.0.9")}, full})),
              HasSubstr("failed to allocate for range 1: no IP addresses available"));
  EXPECT_EQ(store.reservations.size(), 2U);
  EXPECT_EQ(store.reservations.count(ip("10.8.0.1")), 1U) << "it was ours before";
}

TEST(Allocate, AFailingStoreIsReportedAndUndone) {
  FakeStore store;
  store.failing = ip("10.9.0.2");
  const RangeSet second{range("10.9.0.0/24", "10.9.0.1", "10.9.0.9", "10.9.0.1")};
  const auto ips = allocate(store, configOf({{small("10.0.0.9")}, second}), kOwner);
  ASSERT_FALSE(ips);
  EXPECT_EQ(ips.error().sysErrno, ENOSPC);
  EXPECT_TRUE(store.reservations.empty());
}

/// A /16 of which the first `count` addresses are reserved.
RangeSet crowdedSet(FakeStore& store, std::size_t count) {
  RangeSet set{range("10.0.0.0/16", "10.0.0.1", "10.0.255.254", "10.0.0.1")};
  IpAddress address = ip("10.0.0.1");
  for (std::size_t i = 0; i < count; ++i) {
    address = address.next();
    store.reservations.emplace(address, kOther);
  }
  return set;
}

TEST(Allocate, ALongRunOfReservedAddressesCostsOneListing) {
  FakeStore store;
  EXPECT_EQ(add(store, configOf({crowdedSet(store, 50'000)})), "10.0.195.82/16");
  EXPECT_EQ(store.listed, 1U);
  EXPECT_LT(store.asked, 2000U);
}

TEST(Allocate, TakesAnEmptyReservationThatTheListingShowedAsTaken) {
  FakeStore store;
  const RangeSet set = crowdedSet(store, 65'533);
  EXPECT_THAT(add(store, configOf({set})), HasSubstr("no IP addresses available"));
  store.reservations.erase(ip("10.0.200.200"));
  store.empty.insert(ip("10.0.200.200"));
  EXPECT_EQ(add(store, configOf({set})), "10.0.200.200/16");
}

TEST(Allocate, FindsTheNextFreeAddressInAnIpv6Subnet) {
  FakeStore store;
  const RangeSet set{
      range("2001:db8::/64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1")};
  IpAddress address = ip("2001:db8::1");
  for (int i = 0; i < 5000; ++i) {
    address = address.next();
    store.reservations.emplace(address, kOther);
  }
  EXPECT_EQ(add(store, configOf({set})), "2001:db8::138a/64");
}

TEST(HasFreeAddress, IsFalseOnlyWhenAllAreReserved) {
  FakeStore store;
  const RangeSet set{small("10.0.0.3")};
  store.reservations.emplace(ip("10.0.0.2"), kOther);
  EXPECT_TRUE(hasFreeAddress(store, set, 0).value());
  store.reservations.emplace(ip("10.0.0.3"), kOther);
  EXPECT_FALSE(hasFreeAddress(store, set, 0).value());
  EXPECT_EQ(store.reservations.size(), 2U) << "and it reserves nothing itself";
}

}  // namespace
}  // namespace culvert::ipam
