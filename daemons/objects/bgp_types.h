#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "cni/config_reader.h"

namespace culvert::objects {

using AsNumber = std::uint32_t;  // RFC 6793; 1..4294967295, and 0 where none is set

/// What several BGP objects share: reading them from JSON reports problems to the reader.

/// A standard (RFC 1997, "65000:1") or large (RFC 8092, "65000:1:2") community.
struct BgpCommunity {
  std::array<std::uint32_t, 3> words{};
  bool large = false;
  static std::optional<BgpCommunity> parse(std::string_view text);
  std::string text() const;
  auto operator<=>(const BgpCommunity&) const = default;
};

/// A key of a Secret in the daemon's own namespace.
struct SecretKeyRef {
  std::string name;
  std::string key;
  /// "name/key"
  std::string text() const { return name + "/" + key; }
  auto operator<=>(const SecretKeyRef&) const = default;
};

/// RFC 5880. Off unless enabled.
struct BfdOptions {
  bool enabled = false;
  std::uint32_t intervalMs = 300;  // 10..60000, both ways
  std::uint32_t multiplier = 3;    // 1..255
  bool passive = false;
  bool operator==(const BfdOptions&) const = default;
};

enum class LimitAction : std::uint8_t { kWarn, kBlock, kRestart, kDisable };

/// How many prefixes a session may carry one way.
struct PrefixLimit {
  std::uint32_t prefixes = 0;  // 1..10000000
  LimitAction action = LimitAction::kBlock;
  bool operator==(const PrefixLimit&) const = default;
};

/// RFC 4724, and RFC 9494 when a stale time is given.
struct GracefulRestart {
  bool enabled = true;
  std::chrono::seconds restartTime{120};       // 1..4095
  std::chrono::seconds longLivedStaleTime{0};  // 0: no long-lived; ..16777215
  bool operator==(const GracefulRestart&) const = default;
};

std::string_view text(LimitAction action);  // "Warn", "Block", ...

/// A duration as Go writes them: "90s", "1m30s", "2h"; whole seconds.
std::optional<std::chrono::seconds> parseDuration(std::string_view text);

/// Readers of one key each; `nullopt` or the default where it is absent or wrong.
std::optional<AsNumber> readAsNumber(const cni::ConfigReader& reader, std::string_view key);
std::optional<std::chrono::seconds> readSeconds(const cni::ConfigReader& reader,
                                                std::string_view key, std::int64_t min,
                                                std::int64_t max);
std::optional<SecretKeyRef> readSecretKeyRef(const cni::ConfigReader& reader, std::string_view key);
BfdOptions readBfd(const cni::ConfigReader& reader);
std::optional<PrefixLimit> readPrefixLimit(const cni::ConfigReader& reader, std::string_view key);
std::optional<GracefulRestart> readGracefulRestart(const cni::ConfigReader& reader);
/// The index of the key's value among `allowed`; `fallback` if absent; others are a problem.
std::size_t readChoice(const cni::ConfigReader& reader, std::string_view key,
                       const std::vector<std::string_view>& allowed, std::size_t fallback);
/// A CIDR without host bits.
std::optional<IpPrefix> readNetwork(const cni::ConfigReader& reader, std::string_view key);
/// metadata.name: a DNS subdomain (RFC 1123) of up to 253 bytes.
std::string readName(const cni::ConfigReader& object);

}  // namespace culvert::objects
