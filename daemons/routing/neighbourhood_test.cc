#include "daemons/routing/neighbourhood.h"

#include <gtest/gtest.h>
#include <linux/neighbour.h>

namespace culvert::routing {
namespace {

using std::chrono::seconds;

const IpAddress kPeer = *IpAddress::parse("198.18.0.2");
const IpAddress kRouter = *IpAddress::parse("198.18.0.1");
constexpr const char* kRouterMac = "02:00:00:00:00:01";

class Neighbours : public testing::Test {
 protected:
  Neighbours() { neighbourhood_.setGateways({kRouter, {}}); }
  bool note(const IpAddress& address, std::uint16_t state, const char* mac = "") {
    return neighbourhood_.note(
        {.link = {}, .address = address, .mac = MacAddress::parse(mac), .state = state}, now_);
  }
  bool trusts() { return neighbourhood_.trusts(kPeer, now_); }

  Neighbourhood neighbourhood_;
  Neighbourhood::Time now_{seconds(1000)};
};

TEST_F(Neighbours, AreTrustedUntilTheyDoNotAnswer) {
  EXPECT_TRUE(trusts());
  EXPECT_FALSE(note(kPeer, NUD_REACHABLE, "02:00:00:00:00:02")) << "nothing new";
  EXPECT_FALSE(note(kPeer, NUD_STALE, "02:00:00:00:00:02")) << "nobody has asked for a while";
  EXPECT_TRUE(trusts());
  EXPECT_TRUE(note(kPeer, NUD_FAILED));
  EXPECT_FALSE(trusts());
  EXPECT_FALSE(note(kPeer, NUD_INCOMPLETE)) << "asking again says nothing";
  EXPECT_FALSE(note(kPeer, NUD_FAILED));
  EXPECT_FALSE(trusts());
}

TEST_F(Neighbours, ARouterThatAnswersForAPeerIsNoNeighbour) {
  note(kRouter, NUD_REACHABLE, kRouterMac);
  EXPECT_TRUE(neighbourhood_.trusts(kRouter, now_)) << "for itself it may";
  EXPECT_TRUE(note(kPeer, NUD_REACHABLE, kRouterMac));
  EXPECT_FALSE(trusts());
}

TEST_F(Neighbours, MayTurnOutToBeTheRouterLater) {
  EXPECT_FALSE(note(kPeer, NUD_REACHABLE, kRouterMac));
  EXPECT_TRUE(trusts());
  EXPECT_TRUE(note(kRouter, NUD_REACHABLE, kRouterMac));
  EXPECT_FALSE(trusts());
}

TEST_F(Neighbours, AreTrustedAgainAfterAWhile) {
  note(kPeer, NUD_FAILED);
  EXPECT_EQ(neighbourhood_.next(), Neighbourhood::Time::max());
  EXPECT_TRUE(note(kPeer, NUD_REACHABLE, "02:00:00:00:00:02"));
  EXPECT_FALSE(trusts());
  EXPECT_EQ(neighbourhood_.next(), now_ + Neighbourhood::kHold);
  now_ += Neighbourhood::kHold - seconds(1);
  note(kPeer, NUD_FAILED);
  note(kPeer, NUD_REACHABLE, "02:00:00:00:00:02");
  now_ += seconds(1);
  EXPECT_FALSE(trusts()) << "it went again in between";
  now_ += Neighbourhood::kHold;
  EXPECT_TRUE(trusts());
  EXPECT_EQ(neighbourhood_.next(), Neighbourhood::Time::max());
}

}  // namespace
}  // namespace culvert::routing
