#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "hostfw/masquerade.h"
#include "hostfw/spoof_check.h"
#include "netlink/test_net.h"

/// What ADD and DEL cost must not depend on how many containers there are. Times are too noisy to
/// assert; what crosses the netlink socket is not.
namespace culvert::hostfw {
namespace {

struct Traffic {
  std::size_t sends = 0;
  std::size_t receives = 0;
  std::size_t bytes = 0;  // both ways
};
Traffic traffic;

}  // namespace
}  // namespace culvert::hostfw

// The test program's own sendto(), recv() and recvfrom() stand before the C library's.
// NOLINTBEGIN(readability-function-size): the C library's signatures
extern "C" {
ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to,
               socklen_t toSize) {
  const ssize_t sent = ::syscall(SYS_sendto, fd, data, size, flags, to, toSize);
  ++culvert::hostfw::traffic.sends;
  culvert::hostfw::traffic.bytes += sent > 0 ? static_cast<std::size_t>(sent) : 0;
  return sent;
}

ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* fromSize) {
  const ssize_t got = ::syscall(SYS_recvfrom, fd, data, size, flags, from, fromSize);
  ++culvert::hostfw::traffic.receives;
  if ((flags & MSG_PEEK) == 0)
    culvert::hostfw::traffic.bytes += got > 0 ? static_cast<std::size_t>(got) : 0;
  return got;
}

ssize_t recv(int fd, void* data, size_t size, int flags) {
  return recvfrom(fd, data, size, flags, nullptr, nullptr);
}
}
// NOLINTEND(readability-function-size)

namespace culvert::hostfw {
namespace {

using testnet::mac;
using testnet::newNamespace;
using testnet::prefix;
using Clock = std::chrono::steady_clock;

constexpr int kFew = 100;
constexpr int kMany = 10000;

Owner owner(int i) {
  return {"net1", "container-" + std::to_string(i), "eth0"};
}

IpPrefix address(int i) {
  return prefix("10." + std::to_string(i / 65536) + '.' + std::to_string(i / 256 % 256) + '.' +
                std::to_string(i % 256) + "/8");
}

struct Cost {
  Traffic add;
  Traffic remove;
};

/// Counts what one ADD and one DEL send and receive, and prints the fastest of several.
template <class Add, class Remove>
Cost measure(const char* what, int present, Add add, Remove remove) {
  Cost cost;
  auto fastestAdd = Clock::duration::max();
  auto fastestRemove = Clock::duration::max();
  for (int i = 0; i < 20; ++i) {
    traffic = {};
    const auto start = Clock::now();
    const Result<void> added = add();
    const auto between = Clock::now();
    cost.add = traffic;
    EXPECT_TRUE(added) << added.error().message;
    traffic = {};
    const auto resumed = Clock::now();
    const Result<void> removed = remove();
    fastestRemove = std::min(fastestRemove, Clock::now() - resumed);
    fastestAdd = std::min(fastestAdd, between - start);
    cost.remove = traffic;
    EXPECT_TRUE(removed) << removed.error().message;
  }
  const auto us = [](auto span) {
    return std::chrono::duration_cast<std::chrono::microseconds>(span).count();
  };
  std::printf(
      "%s, %d present: add %ld us, %zu sends, %zu receives, %zu bytes; "
      "remove %ld us, %zu sends, %zu receives, %zu bytes\n",
      what, present, us(fastestAdd), cost.add.sends, cost.add.receives, cost.add.bytes,
      us(fastestRemove), cost.remove.sends, cost.remove.receives, cost.remove.bytes);
  return cost;
}

void expectSame(const Cost& few, const Cost& many) {
  EXPECT_EQ(few.add.sends, many.add.sends);
  EXPECT_EQ(few.add.receives, many.add.receives);
  EXPECT_LT(many.add.bytes, few.add.bytes + 100);  // numbers have more digits
  EXPECT_EQ(few.remove.sends, many.remove.sends);
  EXPECT_EQ(few.remove.receives, many.remove.receives);
  EXPECT_LT(many.remove.bytes, few.remove.bytes + 8192);  // a datagram of others, full or not
}

class ScaleTest : public testing::Test {
 protected:
  ScaleTest() : host_(newNamespace()), nft_(nft::Connection::open().value()) {}

  template <class Add>
  void fill(int from, int to, Add add) {
    for (int i = from; i < to; ++i)
      ASSERT_TRUE(add(i)) << i;
  }

  NetNs host_;
  nft::Connection nft_;
};

TEST_F(ScaleTest, MasqueradeCostsTheSameWithTenThousandContainers) {
  const auto addOne = [&](int i) { return ensureMasquerade(nft_, owner(i), {address(i)}); };
  const auto add = [&] { return addOne(kMany + 1); };
  const auto remove = [&] { return removeMasquerade(nft_, owner(kMany + 1)); };
  fill(0, kFew, addOne);
  const Cost few = measure("masquerade", kFew, add, remove);
  fill(kFew, kMany, addOne);
  const Cost many = measure("masquerade", kMany, add, remove);
  expectSame(few, many);
  EXPECT_EQ(collectMasquerade(nft_, "net1", {}).value(), static_cast<std::size_t>(kMany));
  EXPECT_EQ(nft_.listTables().value().size(), 0U);
}

TEST_F(ScaleTest, SpoofCheckCostsTheSameWithTenThousandContainers) {
  const auto addOne = [&](int i) {
    return ensureSpoofCheck(nft_, owner(i), hostVethName(owner(i)), mac("02:00:00:00:00:01"));
  };
  const auto add = [&] { return addOne(kMany + 1); };
  const auto remove = [&] {
    return removeSpoofCheck(nft_, owner(kMany + 1), hostVethName(owner(kMany + 1)));
  };
  fill(0, kFew, addOne);
  const Cost few = measure("spoof check", kFew, add, remove);
  fill(kFew, kMany, addOne);
  const Cost many = measure("spoof check", kMany, add, remove);
  expectSame(few, many);
  EXPECT_EQ(collectSpoofCheck(nft_, "net1", {}).value(), static_cast<std::size_t>(kMany));
  EXPECT_EQ(nft_.listTables().value().size(), 0U);
}

}  // namespace
}  // namespace culvert::hostfw
