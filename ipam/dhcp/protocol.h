#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/attachment.h"
#include "base/result.h"
#include "ipam/dhcp/record.h"

// What plugin and daemon say to each other on the unix socket: one request and one answer for each
// connection, either a length (4 bytes, big-endian) and that many bytes of JSON.
namespace culvert::ipam::dhcp {

inline constexpr std::size_t kMaxRequestBytes = 1 << 20;  // GC names every attachment
inline constexpr std::size_t kMaxAnswerBytes = 1 << 20;

enum class Method { kAllocate, kRelease, kLookUp, kCollect, kPing };

struct DaemonRequest {
  Method method = Method::kPing;
  Order order;                    // kAllocate; kRelease and kLookUp use its names only
  std::string network;            // kCollect
  std::vector<Attachment> valid;  // kCollect
  bool operator==(const DaemonRequest&) const = default;
};

std::string renderRequest(const DaemonRequest& request);
/// kDecode names what is wrong.
Result<DaemonRequest> parseRequest(std::string_view text);

/// Leases, empty for requests that ask for none, or an error.
std::string renderAnswer(const Result<Leases>& answer);
/// The error may be the daemon's, with its code.
Result<Leases> parseAnswer(std::string_view text);

std::string framed(std::string_view message);
/// The message at the front of `received`, once it is there in full; kDecode if it is longer than
/// `maxBytes`.
Result<std::optional<std::string_view>> unframed(std::string_view received, std::size_t maxBytes);

}  // namespace culvert::ipam::dhcp
