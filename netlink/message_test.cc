#include "netlink/message.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <climits>

#include "netlink/link.h"
#include "netlink/socket.h"
#include "netlink/sysctl.h"

namespace culvert::netlink {
namespace {

std::string attribute(std::uint16_t type, const std::string& value) {
  const nlattr header{static_cast<std::uint16_t>(NLA_HDRLEN + value.size()), type};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes += value;
  bytes.resize(NLA_ALIGN(bytes.size()));
  return bytes;
}

TEST(Attributes, FindsValuesByTypeAndChecksTheirSize) {
  const std::string bytes =
      attribute(1, std::string("\1\0\0\0", 4)) + attribute(2, std::string("eth0\0", 5));
  const Attributes attributes(bytes);
  EXPECT_EQ(attributes.u32(1), 1U);
  EXPECT_FALSE(attributes.u16(1));
  EXPECT_EQ(attributes.string(2), "eth0");
  EXPECT_FALSE(attributes.has(3));
}

TEST(Attributes, IgnoreTheNestedAndByteOrderFlagsOfATypes) {
  EXPECT_TRUE(Attributes(attribute(5 | NLA_F_NESTED, "")).has(5));
}

TEST(Attributes, StopAtMalformedInput) {
  const std::string good = attribute(1, std::string("\1\0\0\0", 4));
  for (std::size_t cut = 1; cut < good.size(); ++cut) {
    EXPECT_FALSE(Attributes(std::string_view(good).substr(0, cut)).has(1)) << cut;
  }
  const nlattr tooShort{2, 1};
  EXPECT_FALSE(Attributes({reinterpret_cast<const char*>(&tooShort), sizeof tooShort}).has(1));
}

TEST(Attributes, AnAddressHasItsFamilysSize) {
  const std::string bytes = attribute(1, std::string("\x0a\x01\x02\x03", 4));
  EXPECT_EQ(Attributes(bytes).address(1, Family::kV4)->text(), "10.1.2.3");
  EXPECT_FALSE(Attributes(bytes).address(1, Family::kV6));
}

TEST(ParseAck, PutsTheKernelsWordsIntoTheDetails) {
  nlmsgerr ack{};
  ack.error = -EINVAL;
  const std::string payload = std::string(reinterpret_cast<const char*>(&ack), sizeof ack) +
                              attribute(NLMSGERR_ATTR_MSG, std::string("Bad thing\0", 10));
  const Result<void> outcome = parseAck(payload, NLM_F_ACK_TLVS | NLM_F_CAPPED);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().details, "Bad thing");
  EXPECT_EQ(outcome.error().message, "netlink: Invalid argument (Bad thing)");
  EXPECT_EQ(outcome.error().sysErrno, EINVAL);
}

TEST(ParseAck, WhatIsNoErrnoIsRefused) {
  nlmsgerr ack{};
  ack.error = INT_MIN;  // has no positive counterpart
  EXPECT_FALSE(parseAck({reinterpret_cast<const char*>(&ack), sizeof ack}, 0));
}

TEST(ParseAck, ATruncatedOneIsAnError) {
  EXPECT_FALSE(parseAck("abc", 0));
}

TEST(ParseReplies, OtherMessagesAreNotTakenForLinks) {
  const Reply reply{RTM_NEWROUTE, 0, std::string(64, '\0')};
  EXPECT_FALSE(parseLink(reply));
  EXPECT_FALSE(parseAddress(reply));
  EXPECT_TRUE(parseRoutes({RTM_NEWROUTE, 0, ""}).empty());
}

TEST(Sysctl, PathsCannotLeaveProcSysNet) {
  EXPECT_EQ(writeSysctl("../kernel/hostname", "x").error().code, Errc::kInvalidConfig);
  EXPECT_EQ(readSysctl("ipv4/no-such-setting").error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace culvert::netlink
