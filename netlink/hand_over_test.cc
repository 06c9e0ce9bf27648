#include "netlink/hand_over.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

namespace culvert::netlink {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// The child lives in this memory: while it looks, finds nothing and looks again (after 40 ms).
TEST(HandOver, LeavesErrnoAlone) {
  constexpr int kOurs = 4321;
  for (int round = 0; round < 5; ++round) {
    const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    ASSERT_GE(socket, 0);
    errno = kOurs;
    const auto begin = steady_clock::now();
    handOver({socket});
    while (steady_clock::now() - begin < milliseconds(100)) {
      const volatile int& now = errno;
      ASSERT_EQ(now, kOurs) << "round " << round;
    }
    ::close(socket);
  }
}

}  // namespace
}  // namespace culvert::netlink
