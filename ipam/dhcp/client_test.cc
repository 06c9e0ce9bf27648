#include <gtest/gtest.h>

#include "ipam/dhcp/client4.h"
#include "ipam/dhcp/client6.h"

using namespace std::string_literals;

namespace culvert::ipam::dhcp {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const MacAddress kMac = *MacAddress::parse("02:00:00:00:00:01");
const IpAddress kAddress = *IpAddress::parse("10.1.2.3");
const std::string kServer = "\x0a\1\2\1", kStranger = "\x0a\1\2\x09";

std::uint32_t counting() {
  static std::uint32_t next = 0;
  return next += 1000;
}

Client4 client4() {
  return Client4(
      {.mac = kMac, .provide = {{kClientIdentifier, "me"}}, .request = {1, 3}, .retry = {}},
      counting);
}

Message4 sent(const Client4::Step& step) {
  EXPECT_EQ(step.send.size(), 1U);
  return step.send.empty() ? Message4() : *parse4(step.send[0].message);
}

Message4 answer(const Message4& request, Type4 type, const std::string& server = kServer,
                const IpAddress& address = kAddress) {
  Message4 out{.fromServer = true,
               .xid = request.xid,
               .yourAddress = address,
               .hardware = request.hardware,
               .options = {}};
  out.options = {{kMessageType, std::string(1, static_cast<char>(type))},
                 {kServerIdentifier, server},
                 {kSubnetMask, "\xff\xff\xff\0"s},
                 {kLeaseTime, "\0\0\0\x64"s}};
  return out;
}

/// A client with a lease of 100 s from time 0.
void bind(Client4& client) {
  const Message4 discover = sent(client.acquire(seconds(0), {}));
  const auto requested = client.onMessage(answer(discover, Type4::kOffer), {}, seconds(0));
  const auto bound = client.onMessage(answer(sent(requested), Type4::kAck), kMac, seconds(0));
  ASSERT_EQ(bound.event, Event::kBound);
}

TEST(Client4, DiscoversRequestsAndIsBound) {
  Client4 client = client4();
  const Message4 discover = sent(client.acquire(seconds(0), {}));
  EXPECT_EQ(discover.type(), Type4::kDiscover);
  EXPECT_EQ(discover.options.at(kClientIdentifier), "me");
  EXPECT_EQ(discover.options.at(kParameterRequestList), "\1\3");
  EXPECT_FALSE(discover.options.contains(kServerIdentifier));
  const Message4 request =
      sent(client.onMessage(answer(discover, Type4::kOffer), {}, milliseconds(5)));
  EXPECT_EQ(request.type(), Type4::kRequest);
  EXPECT_EQ(request.xid, discover.xid) << "RFC 2131 section 4.4.1";
  EXPECT_EQ(request.options.at(kServerIdentifier), kServer);
  EXPECT_EQ(request.addressOption(kRequestedAddress), kAddress);
  EXPECT_TRUE(request.clientAddress.isUnspecified());
  EXPECT_EQ(client.onMessage(answer(request, Type4::kAck), kMac, milliseconds(9)).event,
            Event::kBound);
  EXPECT_EQ(client.state(), Client4::State::kBound);
  EXPECT_EQ(client.lease()->serverMac, kMac);
}

TEST(Client4, RepeatsItselfLessAndLessOftenAndGivesUp) {
  Client4 client = client4();
  sent(client.acquire(seconds(0), {}));
  std::vector<Instant> times;
  Event event = Event::kNone;
  while (event == Event::kNone) {
    times.push_back(client.deadline());
    event = client.onTimer(client.deadline()).event;
  }
  EXPECT_EQ(event, Event::kGaveUp);
  EXPECT_EQ(times.back(), seconds(208));
  EXPECT_LT(times[0], milliseconds(300));
  EXPECT_LT(times.size(), 13U);
  EXPECT_EQ(client.deadline(), kNever);
}

TEST(Client4, DiscoversAnewIfTheRequestIsNotAnswered) {
  Client4 client = client4();
  const Message4 discover = sent(client.acquire(seconds(0), {}));
  static_cast<void>(client.onMessage(answer(discover, Type4::kOffer), {}, seconds(1)));
  Message4 last = discover;
  while (client.state() == Client4::State::kRequesting)
    last = sent(client.onTimer(client.deadline()));
  EXPECT_EQ(last.type(), Type4::kDiscover);
  EXPECT_NE(last.xid, discover.xid);
}

TEST(Client4, HearsOnlyAnswersToItself) {
  Client4 client = client4();
  const Message4 discover = sent(client.acquire(seconds(0), {}));
  Message4 other = answer(discover, Type4::kOffer);
  other.xid += 1;
  EXPECT_TRUE(client.onMessage(other, {}, seconds(0)).send.empty());
  other = answer(discover, Type4::kOffer);
  other.hardware = *MacAddress::parse("02:00:00:00:00:02");
  EXPECT_TRUE(client.onMessage(other, {}, seconds(0)).send.empty());
  other = answer(discover, Type4::kOffer);
  other.fromServer = false;
  EXPECT_TRUE(client.onMessage(other, {}, seconds(0)).send.empty());
  EXPECT_EQ(client.onMessage(answer(discover, Type4::kAck), {}, seconds(0)).event, Event::kNone);
}

TEST(Client4, TakesTheWordOfTheServerItChoseOnly) {
  Client4 client = client4();
  const Message4 discover = sent(client.acquire(seconds(0), {}));
  const Message4 request = sent(client.onMessage(answer(discover, Type4::kOffer), {}, seconds(0)));
  EXPECT_EQ(client.onMessage(answer(request, Type4::kAck, kStranger), {}, seconds(0)).event,
            Event::kNone);
  EXPECT_TRUE(
      client.onMessage(answer(request, Type4::kNak, kStranger), {}, seconds(0)).send.empty());
  const auto refused = client.onMessage(answer(request, Type4::kNak), {}, seconds(0));
  EXPECT_EQ(sent(refused).type(), Type4::kDiscover);
  EXPECT_EQ(client.complaint(), "server 10.1.2.1 refused 10.1.2.3");
}

TEST(Client4, RenewsByUnicastRebindsByBroadcastAndLosesTheLease) {
  Client4 client = client4();
  bind(client);
  EXPECT_GE(client.deadline(), milliseconds(47'000));  // T1 and some fuzz
  auto step = client.onTimer(client.deadline());
  EXPECT_EQ(step.send.at(0).via, Client4::Via::kUnicast);
  EXPECT_EQ(step.send.at(0).to.text(), "10.1.2.1");
  EXPECT_EQ(sent(step).clientAddress, kAddress);
  EXPECT_FALSE(sent(step).options.contains(kServerIdentifier));
  while (client.state() == Client4::State::kRenewing)
    step = client.onTimer(client.deadline());
  EXPECT_EQ(step.send.at(0).via, Client4::Via::kBroadcast);
  EXPECT_GE(client.deadline(), milliseconds(87'500));
  while (client.state() == Client4::State::kRebinding)
    step = client.onTimer(client.deadline());
  EXPECT_EQ(step.event, Event::kLost);
}

TEST(Client4, IsRenewedByItsServerAndReboundByAny) {
  Client4 client = client4();
  bind(client);
  Message4 request = sent(client.onTimer(seconds(50)));
  EXPECT_EQ(client.onMessage(answer(request, Type4::kAck, kStranger), {}, seconds(51)).event,
            Event::kNone);
  EXPECT_EQ(client.onMessage(answer(request, Type4::kAck), {}, seconds(51)).event, Event::kRenewed);
  EXPECT_EQ(client.lease()->schedule.expiresAt, seconds(151));
  EXPECT_EQ(client.lease()->serverMac, kMac) << "kept: the answer came without its frame";
  request = sent(client.onTimer(seconds(140)));
  EXPECT_EQ(client.onMessage(answer(request, Type4::kAck, kStranger), {}, seconds(141)).event,
            Event::kRenewed);
  EXPECT_EQ(client.lease()->server.text(), "10.1.2.9");
}

TEST(Client4, IgnoresARenewalOfAnotherAddress) {
  Client4 client = client4();
  bind(client);
  const Message4 request = sent(client.onTimer(seconds(50)));
  const auto other = answer(request, Type4::kAck, kServer, *IpAddress::parse("10.1.2.4"));
  EXPECT_EQ(client.onMessage(other, {}, seconds(51)).event, Event::kNone);
}

TEST(Client4, AsksForTheSameAddressAfterARefusal) {
  Client4 client = client4();
  bind(client);
  const Message4 request = sent(client.onTimer(seconds(50)));
  Message4 discover = sent(client.onMessage(answer(request, Type4::kNak), {}, seconds(50)));
  EXPECT_EQ(discover.type(), Type4::kDiscover);
  EXPECT_EQ(discover.addressOption(kRequestedAddress), kAddress);
  const auto other = answer(discover, Type4::kOffer, kServer, *IpAddress::parse("10.1.2.4"));
  EXPECT_TRUE(client.onMessage(other, {}, seconds(50)).send.empty());
  const auto again = client.onMessage(answer(discover, Type4::kOffer), {}, seconds(50));
  EXPECT_EQ(client.onMessage(answer(sent(again), Type4::kAck), {}, seconds(50)).event,
            Event::kRenewed);
}

TEST(Client4, LosesARefusedLeaseThatItCannotHaveAgain) {
  Client4 client = client4();
  bind(client);
  const Message4 request = sent(client.onTimer(seconds(50)));
  static_cast<void>(client.onMessage(answer(request, Type4::kNak), {}, seconds(50)));
  Event event = Event::kNone;
  while (event == Event::kNone)
    event = client.onTimer(client.deadline()).event;
  EXPECT_EQ(event, Event::kLost);
}

TEST(Client4, ConfirmsARememberedAddressOrDiscovers) {
  Client4 client = client4();
  const Message4 request = sent(client.acquire(seconds(0), kAddress));
  EXPECT_EQ(request.type(), Type4::kRequest);
  EXPECT_FALSE(request.options.contains(kServerIdentifier))
      << "RFC 2131 section 4.3.2, INIT-REBOOT";
  EXPECT_TRUE(request.clientAddress.isUnspecified());
  const Message4 discover = sent(client.onMessage(answer(request, Type4::kNak), {}, seconds(0)));
  EXPECT_EQ(discover.type(), Type4::kDiscover);
  EXPECT_FALSE(discover.options.contains(kRequestedAddress));
}

TEST(Client4, ReleasesWithItsIdentifierAndTheServers) {
  Client4 client = client4();
  EXPECT_FALSE(client.release());
  bind(client);
  const auto release = parse4(*client.release());
  EXPECT_EQ(release->type(), Type4::kRelease);
  EXPECT_EQ(release->clientAddress, kAddress);
  EXPECT_EQ(release->options.size(), 3U);
  EXPECT_EQ(client.state(), Client4::State::kIdle);
}

// --- DHCPv6 ------------------------------------------------------------------------------------

const IpAddress kAddress6 = *IpAddress::parse("fd00::5");
const std::string kServer6 = "\0\1one"s, kStranger6 = "\0\1two"s;

Client6 client6() {
  return Client6({.duid = duidOf("me"), .retry = {}}, counting);
}

Message6 sent(const Client6::Step& step) {
  EXPECT_EQ(step.send.size(), 1U);
  return step.send.empty() ? Message6() : *parse6(step.send[0]);
}

Message6 answer(const Message6& request, Type6 type, const std::string& server = kServer6,
                std::uint8_t preference = 0) {
  Message6 out;
  out.type = type;
  out.transaction = request.transaction;
  out.clientId = request.clientId;
  out.serverId = server;
  out.preference = preference;
  out.associations = {
      {.iaid = 1,
       .entries = {{.address = kAddress6, .preferredSeconds = 90, .validSeconds = 100}}}};
  return out;
}

void bind(Client6& client) {
  const Message6 solicit = sent(client.acquire(seconds(0), {}));
  static_cast<void>(
      client.onMessage(answer(solicit, Type6::kAdvertise, kServer6, 255), seconds(0)));
  const Message6 request = sent(client.onTimer(seconds(0)));
  ASSERT_EQ(client.onMessage(answer(request, Type6::kReply), seconds(0)).event, Event::kBound);
}

TEST(Client6, SolicitsRequestsAndIsBound) {
  Client6 client = client6();
  const Message6 solicit = sent(client.acquire(seconds(0), {}));
  EXPECT_EQ(solicit.type, Type6::kSolicit);
  EXPECT_TRUE(solicit.serverId.empty());
  EXPECT_EQ(solicit.associations.at(0).iaid, 1U);
  static_cast<void>(client.onMessage(answer(solicit, Type6::kAdvertise), seconds(0)));
  EXPECT_EQ(client.deadline(), milliseconds(100)) << "others may outbid";
  const Message6 request = sent(client.onTimer(milliseconds(100)));
  EXPECT_EQ(request.type, Type6::kRequest);
  EXPECT_EQ(request.serverId, kServer6);
  EXPECT_EQ(request.associations.at(0).entries.at(0).address, kAddress6);
  EXPECT_EQ(client.onMessage(answer(request, Type6::kReply), seconds(1)).event, Event::kBound);
  EXPECT_EQ(client.lease()->schedule.renewAt, seconds(51));
}

TEST(Client6, TakesTheServerOfHighestPreference) {
  Client6 client = client6();
  const Message6 solicit = sent(client.acquire(seconds(0), {}));
  static_cast<void>(client.onMessage(answer(solicit, Type6::kAdvertise, kServer6, 1), seconds(0)));
  static_cast<void>(
      client.onMessage(answer(solicit, Type6::kAdvertise, kStranger6, 2), seconds(0)));
  static_cast<void>(client.onMessage(answer(solicit, Type6::kAdvertise, kServer6, 1), seconds(0)));
  EXPECT_EQ(sent(client.onTimer(milliseconds(100))).serverId, kStranger6);
}

TEST(Client6, HearsOnlyAnswersToItself) {
  Client6 client = client6();
  const Message6 solicit = sent(client.acquire(seconds(0), {}));
  Message6 other = answer(solicit, Type6::kAdvertise);
  other.clientId = duidOf("you");
  static_cast<void>(client.onMessage(other, seconds(0)));
  other = answer(solicit, Type6::kAdvertise);
  other.transaction ^= 1;
  static_cast<void>(client.onMessage(other, seconds(0)));
  other = answer(solicit, Type6::kAdvertise);
  other.serverId.clear();
  static_cast<void>(client.onMessage(other, seconds(0)));
  EXPECT_GT(client.deadline(), milliseconds(200)) << "no offer was taken";
}

TEST(Client6, GivesUpInTime) {
  Client6 client = client6();
  sent(client.acquire(seconds(0), {}));
  Event event = Event::kNone;
  Instant last{};
  while (event == Event::kNone)
    last = client.deadline(), event = client.onTimer(last).event;
  EXPECT_EQ(event, Event::kGaveUp);
  EXPECT_EQ(last, seconds(208));
}

TEST(Client6, SolicitsAnewIfTheRequestIsNotAnswered) {
  Client6 client = client6();
  const Message6 solicit = sent(client.acquire(seconds(0), {}));
  static_cast<void>(
      client.onMessage(answer(solicit, Type6::kAdvertise, kServer6, 255), seconds(0)));
  Message6 last = sent(client.onTimer(seconds(0)));
  while (client.state() == Client6::State::kRequesting)
    last = sent(client.onTimer(client.deadline()));
  EXPECT_EQ(last.type, Type6::kSolicit);
}

TEST(Client6, RenewsRebindsAndLosesTheLease) {
  Client6 client = client6();
  bind(client);
  const Message6 renew = sent(client.onTimer(seconds(50)));
  EXPECT_EQ(renew.type, Type6::kRenew);
  EXPECT_EQ(renew.serverId, kServer6);
  EXPECT_EQ(client.onMessage(answer(renew, Type6::kReply), seconds(50)).event, Event::kRenewed);
  const Message6 rebind = sent(client.onTimer(seconds(140)));
  EXPECT_EQ(rebind.type, Type6::kRebind);
  EXPECT_TRUE(rebind.serverId.empty());
  EXPECT_EQ(client.onTimer(seconds(150)).event, Event::kLost);
}

TEST(Client6, AsksForTheSameAddressWhenTheServerForgot) {
  Client6 client = client6();
  bind(client);
  const Message6 renew = sent(client.onTimer(seconds(50)));
  Message6 forgot = answer(renew, Type6::kReply);
  forgot.associations[0].status = kNoBinding;
  const Message6 solicit = sent(client.onMessage(forgot, seconds(50)));
  EXPECT_EQ(solicit.type, Type6::kSolicit);
  EXPECT_EQ(solicit.associations.at(0).entries.at(0).address, kAddress6);
  Event event = Event::kNone;
  while (event == Event::kNone)
    event = client.onTimer(client.deadline()).event;
  EXPECT_EQ(event, Event::kLost);
}

TEST(Client6, ReleasesUntilItIsHeard) {
  Client6 client = client6();
  bind(client);
  const Message6 release = sent(client.release(seconds(10)));
  EXPECT_EQ(release.type, Type6::kRelease);
  EXPECT_EQ(release.serverId, kServer6);
  EXPECT_EQ(sent(client.onTimer(client.deadline())).type, Type6::kRelease);
  static_cast<void>(client.onMessage(answer(release, Type6::kReply), seconds(10)));
  EXPECT_EQ(client.state(), Client6::State::kIdle);
}

}  // namespace
}  // namespace culvert::ipam::dhcp
