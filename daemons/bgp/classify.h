#pragma once

#include <string>
#include <vector>

#include "daemons/bgp/bird_config.h"

namespace culvert::bgp {

/// What becomes of sessions when BIRD goes from one configuration to another, least first.
enum class ChangeKind : std::uint8_t {
  kNone,     // equal
  kSoft,     // filters, routes, limits, BFD: sessions stay as they are
  kPeers,    // sessions come or go, and the others stay
  kRestart,  // sessions are taken down and come back: their routes are lost in between
};

std::string_view text(ChangeKind kind);

struct Change {
  ChangeKind kind = ChangeKind::kNone;
  std::vector<std::string> added;  // names of peers, sorted
  std::vector<std::string> removed;
  std::vector<std::string> restarted;  // one of a range stands for all its sessions
  bool operator==(const Change&) const = default;
};

/// Pure. Follows bgp_reconfigure() and bgp_channel_reconfigure() in BIRD's proto/bgp/bgp.c.
Change classify(const BirdConfig& before, const BirdConfig& after);

/// One step of the way, to be applied when the sessions of the step before are back.
struct Stage {
  BirdConfig config;
  std::vector<std::string> restarted;  // by this step
};

/// The way from `before` to `after` on which no step restarts more than `batch` sessions (at least
/// one); a single step for changes that restart no more. Peers whose turn has not come keep all
/// of their old settings; the rest is `after`'s from the first step on. Empty when equal.
std::vector<Stage> stages(const BirdConfig& before, const BirdConfig& after, std::size_t batch);

}  // namespace culvert::bgp
