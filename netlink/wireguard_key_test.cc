#include "netlink/wireguard_key.h"

#include <gtest/gtest.h>

namespace culvert::netlink {
namespace {

TEST(WireguardKey, ThePublicKeyIsTheOneOfRfc7748) {
  // Section 6.1, Bob's: 5dab087e… and de9edb7d….
  const auto secret = SecretKey::parse("XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=");
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret->publicKey().text(), "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=");
}

TEST(WireguardKey, TextIsReadBackAsWritten) {
  const SecretKey secret = *SecretKey::generate();
  EXPECT_TRUE(SecretKey::parse(secret.text()) == secret);
  const PublicKey key = secret.publicKey();
  EXPECT_EQ(PublicKey::parse(key.text()), key);
}

TEST(WireguardKey, ANewOneIsClampedAndLikeNoOther) {
  const SecretKey one = *SecretKey::generate();
  EXPECT_EQ(one.bytes()[0] & 7, 0);
  EXPECT_EQ(one.bytes()[31] & 0xC0, 0x40);
  EXPECT_FALSE(one == *SecretKey::generate());
  EXPECT_FALSE(one.isZero());
}

TEST(WireguardKey, WhatIsNotThirtyTwoBytesOfBase64IsRefused) {
  for (const char* text : {"", "AAAA", "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os",
                           "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4O==",
                           "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Osx",
                           "XasIfmJKikt54X*Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=",
                           "XasIfmJKikt54X Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=",
                           "====XasIfmJKikt54XLg4AO5m87sSkmGLb9HC+LJ/+I4"}) {
    EXPECT_FALSE(SecretKey::parse(text)) << text;
    EXPECT_FALSE(PublicKey::parse(text)) << text;
  }
}

TEST(WireguardKey, AWipedTextIsEmptyAndItsBytesAreGone) {
  std::string text = SecretKey::generate()->text();
  const char* place = text.data();
  wipe(text);
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(std::string(place, 40), std::string(40, '\0'));
}

}  // namespace
}  // namespace culvert::netlink
