#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/netns.h"
#include "base/result.h"

// Taps come from /dev/net/tun, not from rtnetlink (Documentation/networking/tuntap.rst).
namespace culvert::netlink {

struct TapSpec {
  std::string name;
  bool multiQueue = false;                    // whoever opens it must say so too
  std::optional<std::uint32_t> owner, group;  // who may open it without CAP_NET_ADMIN
  std::string selinuxContext;                 // empty: this process's
};

/// Created down and persistent, with IFF_NO_PI and IFF_VNET_HDR (both of which whoever opens it
/// sets anew). kAlreadyExists if the namespace has a link of that name.
///
/// A tap has the SELinux context of the thread that creates it, whatever its attr/sockcreate says:
/// with a context, a child process takes that on (attr/current, which the policy must allow:
/// setcurrent and dyntransition) and creates it.
Result<void> createTap(const NetNs& ns, const TapSpec& spec);

/// Whether /dev/net/tun is there and answers.
Result<void> probeTap();
/// Whether this host labels with SELinux.
bool hasSelinux();

}  // namespace culvert::netlink
