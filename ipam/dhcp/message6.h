#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

// DHCPv6 messages between client and server (RFC 8415 section 8), as far as stateful address
// assignment (IA_NA) goes.
namespace culvert::ipam::dhcp {

inline constexpr std::uint16_t kServerPort6 = 547, kClientPort6 = 546;

enum class Type6 : std::uint8_t {
  kSolicit = 1,
  kAdvertise = 2,
  kRequest = 3,
  kRenew = 5,
  kRebind = 6,
  kReply = 7,
  kRelease = 8
};

/// RFC 8415 section 21.13.
enum Status6 : std::uint16_t { kSuccess = 0, kNoBinding = 3 };

/// An IA_NA option (RFC 8415 section 21.4).
struct Association {
  struct Entry {
    IpAddress address;
    std::uint32_t preferredSeconds = 0, validSeconds = 0;
    std::uint16_t status = kSuccess;
    bool operator==(const Entry&) const = default;
  };
  std::uint32_t iaid = 0;
  std::uint32_t renewSeconds = 0, rebindSeconds = 0;  // T1, T2
  std::vector<Entry> entries;
  std::uint16_t status = kSuccess;
  bool operator==(const Association&) const = default;
};

struct Message6 {
  Type6 type = Type6::kSolicit;
  std::uint32_t transaction = 0;   // 24 bits
  std::string clientId, serverId;  // DUIDs
  std::vector<Association> associations;
  std::vector<std::uint16_t> requested;            // option request option
  std::optional<std::uint16_t> elapsedHundredths;  // of a second
  std::uint8_t preference = 0;
  std::uint16_t status = kSuccess;
  std::vector<IpAddress> dnsServers;
  std::vector<std::string> domainSearch;
  std::optional<std::uint32_t> solicitMaxSeconds;  // SOL_MAX_RT
  bool operator==(const Message6&) const = default;
};

inline constexpr std::uint16_t kOptionDnsServers6 = 23, kOptionDomainSearch6 = 24,
                               kOptionSolicitMax = 82;

std::string encode6(const Message6& message);

/// kDecode, saying why, for anything malformed. Unknown options are skipped.
Result<Message6> parse6(std::string_view bytes);

/// A DUID-UUID (RFC 6355) that follows from `name` alone: 18 bytes.
std::string duidOf(std::string_view name);

}  // namespace culvert::ipam::dhcp
