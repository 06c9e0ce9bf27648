#pragma once

#include <string>

#include "base/mac.h"
#include "base/result.h"
#include "cni/plugin.h"
#include "netlink/nft.h"

namespace culvert::plugins {

/// What an attachment keeps in the host's nftables (hostfw/).
struct HostFirewall {
  bool masquerade = false;
  bool spoofCheck = false;
};

Result<void> ensureHostFirewall(const cni::Request& request, const HostFirewall& wanted,
                                const cni::AddResult& result, const std::string& hostEnd,
                                const MacAddress& containerMac);

/// Whatever the attachment has there; nothing at all is success.
Result<void> removeHostFirewall(nft::Connection& nft, const cni::Request& request);

/// CHECK: kCheckFailed if something wanted is missing.
Result<void> verifyHostFirewall(const cni::Request& request, const HostFirewall& wanted,
                                const cni::AddResult& result, const std::string& hostEnd,
                                const MacAddress& containerMac);

/// GC: what attachments of the network that are not valid any more have there.
Result<void> collectHostFirewall(const cni::Request& request);

}  // namespace culvert::plugins
