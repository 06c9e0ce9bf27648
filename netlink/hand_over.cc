#include "netlink/hand_over.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

#if defined(__x86_64__) || defined(__aarch64__)
constexpr bool kHandsOver = true;

/// A system call that leaves errno alone, which the child has in common with the parent: its recv()
/// that finds nothing would tell the parent that a file it cannot open is to be tried again.
long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
#if defined(__x86_64__)
  long result = 0;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
#else
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
#endif
}
#else
constexpr bool kHandsOver = false;
long call(long, ...) {
  return 0;
}
#endif

long receive(int socket, std::array<char, 128>& into) {
  return call(SYS_recvfrom, socket, reinterpret_cast<long>(into.data()),
              static_cast<long>(into.size()), MSG_DONTWAIT);
}

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
  while (receive(socket, stale) > 0) {
  }
  call(SYS_sendto, socket, reinterpret_cast<long>(&request), sizeof request, 0,
       reinterpret_cast<long>(&kernel), sizeof kernel);
  receive(socket, generation.answer);
  return generation;
}

void closeAllBut(const Legacy& legacy) {
  unsigned next = 0;
  for (std::size_t i = 0; i < legacy.count; ++i) {
    const auto kept = static_cast<unsigned>(legacy.sockets[i]);
    if (next < kept) call(SYS_close_range, next, kept - 1);
    next = kept + 1;
  }
  call(SYS_close_range, next, ~0U);
}

/// The child's whole life. It has the parent's memory, errno with it: nothing here may allocate or
/// lock, or call what sets errno.
int closeWhenQuiet(void* argument) {
  const auto& legacy = *static_cast<const Legacy*>(argument);
  closeAllBut(legacy);
  call(SYS_chdir, reinterpret_cast<long>("/"));
  Generation seen = readGeneration(legacy.sockets[0]);
  for (int i = 0; i < kPausesMax; ++i) {
    call(SYS_nanosleep, reinterpret_cast<long>(&kPause));
    const Generation now = readGeneration(legacy.sockets[0]);
    if (now == seen) break;
    seen = now;
  }
  call(SYS_exit_group);
  return 0;
}

}  // namespace

void handOver(const std::vector<int>& sockets) {
  if (!kHandsOver || sockets.empty() || sockets.size() > kSocketsMax) return;
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
