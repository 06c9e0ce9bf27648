#include "netlink/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace culvert::netlink {
namespace {

/// Where a sequence of system calls failed; plain data, so that a child can report it.
struct Outcome {
  const char* doing = nullptr;  // null: nowhere
  int error = 0;
};

Outcome create(int tun, const TapSpec& spec) {
  ifreq request{};
  std::memcpy(request.ifr_name, spec.name.data(),
              std::min(spec.name.size(), sizeof request.ifr_name - 1));
  const int flags =
      IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL | (spec.multiQueue ? IFF_MULTI_QUEUE : 0);
  request.ifr_flags = static_cast<short>(flags);
  // With IFF_TUN_EXCL, EBUSY says that the name is taken.
  if (::ioctl(tun, TUNSETIFF, &request) != 0) return {"create", errno == EBUSY ? EEXIST : errno};
  if (spec.owner && ::ioctl(tun, TUNSETOWNER, static_cast<unsigned long>(*spec.owner)) != 0)
    return {"set the owner of", errno};
  if (spec.group && ::ioctl(tun, TUNSETGROUP, static_cast<unsigned long>(*spec.group)) != 0)
    return {"set the group of", errno};
  // Until here the tap goes when `tun` is closed.
  if (::ioctl(tun, TUNSETPERSIST, 1UL) != 0) return {"keep", errno};
  return {};
}

Outcome takeContext(const std::string& context) {
  const int file = ::open("/proc/self/attr/current", O_WRONLY | O_CLOEXEC);
  if (file < 0 || ::write(file, context.data(), context.size()) < 0)
    return {"take on the SELinux context for", errno};
  return {};
}

/// create() in a child that has the context; nothing in it allocates.
Outcome createAs(int tun, const TapSpec& spec) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {"create", errno};
  const UniqueFd readEnd(ends[0]);
  UniqueFd writeEnd(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return {"create", errno};
  if (child == 0) {
    Outcome outcome = takeContext(spec.selinuxContext);
    if (outcome.doing == nullptr) outcome = create(tun, spec);
    const ssize_t ignored = ::write(writeEnd.get(), &outcome, sizeof outcome);
    static_cast<void>(ignored);
    ::_exit(0);
  }
  writeEnd = UniqueFd();
  Outcome outcome{"create", EIO};  // the child died without a word
  if (::read(readEnd.get(), &outcome, sizeof outcome) != sizeof outcome) outcome = {"create", EIO};
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return outcome;
}

Result<UniqueFd> openTun() {
  UniqueFd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (tun.get() < 0) return fromErrno(errno, "open /dev/net/tun");
  return tun;
}

}  // namespace

Result<void> createTap(const NetNs& ns, const TapSpec& spec) {
  const UniqueFd tun = TRY(ns.run(openTun));  // it stays with the namespace it was opened in
  const Outcome outcome =
      spec.selinuxContext.empty() ? create(tun.get(), spec) : createAs(tun.get(), spec);
  if (outcome.doing == nullptr) return {};
  return fromErrno(outcome.error, std::string(outcome.doing) + " tap '" + spec.name + "'");
}

Result<void> probeTap() {
  const UniqueFd tun = TRY(openTun());
  unsigned features = 0;
  if (::ioctl(tun.get(), TUNGETFEATURES, &features) != 0)
    return fromErrno(errno, "ask /dev/net/tun what it can do");
  return {};
}

bool hasSelinux() {
  return ::access("/sys/fs/selinux/enforce", F_OK) == 0;
}

}  // namespace culvert::netlink
