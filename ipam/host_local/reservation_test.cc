#include "ipam/host_local/reservation.h"

#include <gtest/gtest.h>

namespace culvert::ipam {
namespace {

TEST(Reservation, IsIdAndInterfaceOnTwoLines) {
  const Owner owner{"dummy-0", "eth0"};
  EXPECT_EQ(formatReservation(owner), "dummy-0\r\neth0");
  EXPECT_EQ(parseReservation("dummy-0\r\neth0"), Reservation(owner));
}

TEST(Reservation, OfOldPluginsIsTheIdAlone) {
  EXPECT_EQ(parseReservation("dummy-0"), Reservation(Owner{"dummy-0", ""}));
  EXPECT_EQ(formatReservation({"dummy-0", ""}), "dummy-0");
}

TEST(Reservation, WhiteSpaceAroundEitherLineDoesNotCount) {
  EXPECT_EQ(parseReservation(" dummy-0 \r\n eth0 \n"), Reservation(Owner{"dummy-0", "eth0"}));
  EXPECT_EQ(parseReservation("dummy-0\neth0\n"), Reservation(Owner{"dummy-0", "eth0"}));
  EXPECT_EQ(parseReservation("\tdummy-0\r\n"), Reservation(Owner{"dummy-0", ""}));
}

TEST(Reservation, OfZeroBytesIsUnowned) {
  EXPECT_EQ(parseReservation(""), Reservation(Unowned{}));
}

TEST(Reservation, ThatNoPluginWroteIsForeign) {
  for (const std::string_view text :
       {std::string_view("reserved by ops"), std::string_view(" "), std::string_view("\r\n"),
        std::string_view("\0\0\0", 3),
        std::string_view("c1\r\n"
                         "an-interface-name-too-long"),
        std::string_view("c1\r\neth0\r\nmore"), std::string_view("../../etc/passwd"),
        std::string_view("c1\r\net\0h0", 9), std::string_view("\xff\xfe\r\neth0")}) {
    EXPECT_EQ(parseReservation(text), Reservation(Foreign{})) << text;
  }
}

TEST(Reservation, OfAnIdOfAnyLengthIsRead) {
  const Owner owner{std::string(100'000, 'a'), "eth0"};
  EXPECT_EQ(parseReservation(formatReservation(owner)), Reservation(owner));
}

}  // namespace
}  // namespace culvert::ipam
