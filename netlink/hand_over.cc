#include "netlink/hand_over.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>

namespace culvert::netlink {
namespace {

constexpr std::size_t kStackBytes = std::size_t{16} * 1024;
constexpr std::size_t kSocketsMax = 4;
/// Longer than a grace period nearly always takes: then closing finds nothing to wait for.
constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 40'000'000};
constexpr int kPausesMax = 50;

/// On the child's stack, which the parent never frees.
struct Legacy {
  std::array<int, kSocketsMax> sockets;  // ascending
  std::size_t count;
};

/// The generation of nf_tables: the kernel's whole answer, which differs in nothing else.
struct Generation {
  std::array<char, 128> answer{};
  bool operator==(const Generation&) const = default;
};

Generation readGeneration(int socket) {
  struct {
    nlmsghdr message;
    nfgenmsg header;
  } request{{sizeof request, (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, NLM_F_REQUEST, 1, 0},
            {0, NFNETLINK_V0, 0}};
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  Generation generation;
  std::array<char, 128> stale{};
  while (::recv(socket, stale.data(), stale.size(), MSG_DONTWAIT) > 0) {
  }
  (void)::sendto(socket, &request, sizeof request, 0, reinterpret_cast<sockaddr*>(&kernel),
                 sizeof kernel);
  (void)::recv(socket, generation.answer.data(), generation.answer.size(), MSG_DONTWAIT);
  return generation;
}

void closeAllBut(const Legacy& legacy) {
  unsigned next = 0;
  for (std::size_t i = 0; i < legacy.count; ++i) {
    const auto kept = static_cast<unsigned>(legacy.sockets[i]);
    if (next < kept) ::close_range(next, kept - 1, 0);
    next = kept + 1;
  }
  ::close_range(next, ~0U, 0);
}

/// The child's whole life. It has the parent's memory: nothing here may allocate or lock.
int closeWhenQuiet(void* argument) {
  const auto& legacy = *static_cast<const Legacy*>(argument);
  closeAllBut(legacy);
  (void)::chdir("/");
  Generation seen = readGeneration(legacy.sockets[0]);
  for (int i = 0; i < kPausesMax; ++i) {
    ::nanosleep(&kPause, nullptr);
    const Generation now = readGeneration(legacy.sockets[0]);
    if (now == seen) break;
    seen = now;
  }
  ::_exit(0);
}

}  // namespace

void handOver(const std::vector<int>& sockets) {
  if (sockets.empty() || sockets.size() > kSocketsMax) return;
  void* stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return;
  auto* legacy = static_cast<Legacy*>(stack);  // the stack grows down from the other end
  legacy->count = sockets.size();
  std::copy(sockets.begin(), sockets.end(), legacy->sockets.begin());
  std::sort(legacy->sockets.begin(), legacy->sockets.begin() + sockets.size());

  // No handler of the parent's may run in its memory twice.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int child =
      ::clone(closeWhenQuiet, static_cast<char*>(stack) + kStackBytes, CLONE_VM, stack);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) ::munmap(stack, kStackBytes);
}

}  // namespace culvert::netlink
