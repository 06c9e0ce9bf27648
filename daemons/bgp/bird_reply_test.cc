#include "daemons/bgp/bird_reply.h"

#include <gtest/gtest.h>

namespace culvert::bgp {
namespace {

constexpr std::string_view kProtocols =
    "2002-Name       Proto      Table      State  Since         Info\n"
    "1002-device1    Device     ---        up     2026-11-21 16:53:59.079  \n"
    "1006-\n"
    "1002-peer4_tor  BGP        ---        up     2026-11-21 16:53:59.080  Established   \n"
    "1006-  Description:    BGPPeer tor\n"
    "   BGP state:          Established\n"
    "     Neighbor address: 198.18.0.254\n"
    "     Neighbor AS:      65001\n"
    "   Channel ipv4\n"
    "     Routes:         3 imported, 1 filtered, 2 exported, 3 preferred\n"
    "     Import limit:   3 [HIT]\n"
    " \n"
    "1002-z          BGP        ---        start  2026-11-21 16:53:59.079  Active        Socket: "
    "Connection closed\n"
    "1006-  BGP state:          Active\n"
    "     Neighbor address: fd18::9\n"
    "     Last error:       Socket: Connection closed\n"
    " \n"
    "0000 \n";

Reply whole(std::string_view text) {
  ReplyReader reader;
  auto reply = reader.feed(text);
  EXPECT_TRUE(reply && *reply);
  return **reply;
}

TEST(Reply, ComesTogetherFromAnyPieces) {
  const Reply expected = whole(kProtocols);
  for (std::size_t size = 1; size < 60; ++size) {
    ReplyReader reader;
    std::optional<Reply> reply;
    for (std::size_t at = 0; at < kProtocols.size(); at += size) {
      ASSERT_FALSE(reply);
      reply = reader.feed(kProtocols.substr(at, size)).value();
    }
    ASSERT_TRUE(reply) << size;
    EXPECT_EQ(reply->lines, expected.lines);
  }
}

TEST(Reply, KnowsRefusals) {
  const Reply reply = whole("0002-Reading configuration from x\n8002 x:3:1 syntax error\n");
  EXPECT_TRUE(reply.failed());
  EXPECT_EQ(reply.text(), "x:3:1 syntax error");
  EXPECT_FALSE(whole("0001 BIRD 2.0.12 ready.\n").failed());
}

TEST(Reply, IsNotTakenFromSomethingElse) {
  EXPECT_EQ(ReplyReader().feed("HTTP/1.1 400 Bad Request\n").error().code, Errc::kDecode);
  EXPECT_EQ(ReplyReader().feed(" before any code\n").error().code, Errc::kDecode);
  ReplyReader endless;
  const std::string megabyte(1024 * 1024, 'x');
  for (int i = 0; i < 64; ++i)
    ASSERT_TRUE(endless.feed(megabyte));
  EXPECT_EQ(endless.feed(megabyte).error().code, Errc::kDecode);
}

TEST(Protocols, AreReadWithTheirDetails) {
  const auto all = parseProtocols(whole(kProtocols));
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[1], (ProtocolStatus{.name = "peer4_tor",
                                    .kind = "BGP",
                                    .state = "up",
                                    .since = "2026-11-21 16:53:59.080",
                                    .info = "Established",
                                    .description = "BGPPeer tor",
                                    .neighbor = "198.18.0.254",
                                    .neighborAs = 65001,
                                    .imported = 3,
                                    .exported = 2,
                                    .limitHit = true}));
  EXPECT_EQ(all[2].lastError, "Socket: Connection closed");
  EXPECT_EQ(all[2].neighbor, "fd18::9");
  EXPECT_FALSE(all[2].established());
}

TEST(Status, IsRead) {
  const BirdStatus status = parseStatus(whole(
      "1000-BIRD 2.0.12\n1011-Router ID is 198.18.0.1\n Hostname is vm\n"
      " Last reboot on 2026-11-21 16:53:59.079\n Last reconfiguration on 2026-11-21 16:54:00.1\n"
      " Graceful restart recovery in progress\n0013 Daemon is up and running\n"));
  EXPECT_EQ(status.version, "BIRD 2.0.12");
  EXPECT_EQ(status.routerId, "198.18.0.1");
  EXPECT_EQ(status.lastReboot, "2026-11-21 16:53:59.079");
  EXPECT_TRUE(status.recovering);
}

}  // namespace
}  // namespace culvert::bgp
