#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace culvert::bgp {

/// An answer on BIRD's control socket (doc/reply_codes, nest/cli.c): lines "1002-text" and a last
/// one "0000 text"; a line that begins with a space goes on with the code before.
struct Reply {
  struct Line {
    int code = 0;
    std::string text;
    bool operator==(const Line&) const = default;
  };
  std::vector<Line> lines;  // at least the last one

  int code() const { return lines.back().code; }
  /// 8000..: could not be done; 9000..: not understood.
  bool failed() const { return code() >= 8000; }
  /// The last line's text.
  const std::string& text() const { return lines.back().text; }
};

/// Puts replies together from whatever pieces they arrive in.
class ReplyReader {
 public:
  /// The reply that `bytes` completed, if they did. kDecode: not BIRD's protocol, or a reply of
  /// over kMaxBytes. One reply at a time: BIRD answers one command before it reads the next.
  Result<std::optional<Reply>> feed(std::string_view bytes);
  static constexpr std::size_t kMaxBytes = 64UL * 1024 * 1024;

 private:
  Result<bool> line(std::string_view text);

  std::string rest_;
  std::size_t bytes_ = 0;
  Reply reply_;
};

/// One entry of `show protocols all`.
struct ProtocolStatus {
  std::string name;
  std::string kind;   // "BGP"
  std::string state;  // "up", "start", "down"
  std::string since;  // BIRD's local time, "2026-11-21 16:53:59.079"
  std::string info;   // BGP: "Established", "Active", "Passive", "Idle", ...
  std::string description;
  std::string neighbor;  // address, or range
  std::uint32_t neighborAs = 0;
  std::string lastError;  // "Socket: Connection refused"; empty if there was none
  std::uint64_t imported = 0;
  std::uint64_t exported = 0;
  bool limitHit = false;  // one of its limits was exceeded

  bool established() const { return info == "Established"; }
  bool operator==(const ProtocolStatus&) const = default;
};

/// What `show protocols all` answered. Lines of no interest are passed over.
std::vector<ProtocolStatus> parseProtocols(const Reply& reply);

/// `show status`.
struct BirdStatus {
  std::string version;  // "BIRD 2.0.12"
  std::string routerId;
  std::string lastReboot;  // BIRD's local time
  std::string lastReconfiguration;
  bool recovering = false;  // graceful restart is under way
};
BirdStatus parseStatus(const Reply& reply);

}  // namespace culvert::bgp
