#pragma once

#include <optional>
#include <string>

#include "base/mac.h"
#include "cni/args.h"
#include "cni/config_reader.h"

// Keys that several plugins share.
namespace culvert::plugins {

/// A name the kernel takes for an interface: 1..15 bytes, no '/', ':' or white space.
std::string readInterfaceName(const cni::ConfigReader& reader, std::string_view key,
                              std::string fallback);

/// "mtu": 0 (the kernel's default) or 68..65535 (RFC 791).
std::uint32_t readMtu(const cni::ConfigReader& reader);

/// "ipMasq", and "ipMasqBackend", whose values "iptables" and "nftables" both mean nftables here:
/// one kernel subsystem carries either, and no process is executed.
bool readMasquerade(const cni::ConfigReader& reader);

/// The container's MAC: CNI_ARGS MAC, over it args.cni.mac, over it runtimeConfig.mac.
std::optional<MacAddress> readMac(const cni::ConfigReader& reader, const cni::Args& args);

}  // namespace culvert::plugins
