#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/objects/bgp_types.h"

namespace culvert::objects {

/// One rule of a BGPFilter: when everything that is set matches, `operations` and `accept` hold.
struct BgpFilterRule {
  enum class Match : std::uint8_t { kEqual, kNotEqual, kIn, kNotIn };
  enum class PeerType : std::uint8_t { kAny, kExternal, kInternal };
  struct Operation {
    enum class Kind : std::uint8_t { kAddCommunity, kPrependAsPath, kSetPriority };
    Kind kind = Kind::kAddCommunity;
    BgpCommunity community;
    std::vector<AsNumber> path;  // the first is the outermost
    std::uint32_t priority = 0;
    bool operator==(const Operation&) const = default;
  };

  std::optional<IpPrefix> cidr;
  Match match = Match::kIn;
  std::optional<std::uint8_t> minLength;  // of prefixes within cidr
  std::optional<std::uint8_t> maxLength;
  bool remotePeersOnly = false;  // source: RemotePeers
  std::string interface;         // a pattern with * and ?; empty: any
  PeerType peerType = PeerType::kAny;
  std::optional<BgpCommunity> community;
  std::vector<AsNumber> asPathPrefix;
  std::optional<std::uint32_t> priority;
  std::vector<Operation> operations;
  bool accept = true;
  bool operator==(const BgpFilterRule&) const = default;
};

/// culvert.dev/v1 BGPFilter, with the fields of Calico's projectcalico.org/v3. A route that no
/// rule matches goes on to the next filter, and then to the default.
struct BgpFilter {
  std::string name;
  std::vector<BgpFilterRule> importV4;
  std::vector<BgpFilterRule> importV6;
  std::vector<BgpFilterRule> exportV4;
  std::vector<BgpFilterRule> exportV6;

  /// kInvalidConfig naming every problem with its path.
  static Result<BgpFilter> parse(const nlohmann::json& object);
  const std::vector<BgpFilterRule>& rules(Family family, bool import) const {
    if (family == Family::kV4) return import ? importV4 : exportV4;
    return import ? importV6 : exportV6;
  }
  bool operator==(const BgpFilter&) const = default;
};

}  // namespace culvert::objects
