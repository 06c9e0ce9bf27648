#include "daemons/bgp/classify.h"

#include <algorithm>
#include <map>

namespace culvert::bgp {
namespace {

using PeerMap = std::map<std::string, const Peer*>;

PeerMap byName(const BirdConfig& config) {
  PeerMap map;
  for (const Peer& peer : config.peers)
    map[peer.name] = &peer;
  return map;
}

/// The peer without what changes on a running session.
Peer sessionOf(const BirdConfig& config, const Peer& peer) {
  Peer session = peer;
  session.description.clear();
  session.routerId = peer.routerId.value_or(config.routerId);
  session.nextHop = {};
  session.bfd = {};
  session.importLimit.reset();
  session.exportLimit.reset();
  session.filters.clear();
  return session;
}

/// Filters that only the old peers still use.
void keepFilters(const BirdConfig& before, BirdConfig& config) {
  const auto same = [](const FilterRules& a, const FilterRules& b) {
    return a.name == b.name && a.family == b.family && a.import == b.import;
  };
  const std::vector<FilterRules> own = config.filters;
  for (const FilterRules& old : before.filters) {
    if (std::none_of(own.begin(), own.end(), [&](const auto& each) { return same(each, old); }))
      config.filters.push_back(old);
  }
}

}  // namespace

std::string_view text(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kNone:
      return "none";
    case ChangeKind::kSoft:
      return "soft";
    case ChangeKind::kPeers:
      return "peers";
    case ChangeKind::kRestart:
      break;
  }
  return "restart";
}

Change classify(const BirdConfig& before, const BirdConfig& after) {
  Change change;
  const PeerMap old = byName(before);
  const PeerMap now = byName(after);
  for (const auto& [name, peer] : old) {
    const auto found = now.find(name);
    if (found == now.end()) {
      change.removed.push_back(name);
    } else if (!(sessionOf(before, *peer) == sessionOf(after, *found->second))) {
      change.restarted.push_back(name);
    }
  }
  for (const auto& [name, peer] : now) {
    if (!old.contains(name)) change.added.push_back(name);
  }
  if (!change.restarted.empty()) {
    change.kind = ChangeKind::kRestart;
  } else if (!change.added.empty() || !change.removed.empty()) {
    change.kind = ChangeKind::kPeers;
  } else if (!(before == after)) {
    change.kind = ChangeKind::kSoft;
  }
  return change;
}

std::vector<Stage> stages(const BirdConfig& before, const BirdConfig& after, std::size_t batch) {
  const Change change = classify(before, after);
  if (change.kind == ChangeKind::kNone) return {};
  const PeerMap old = byName(before);
  const std::vector<std::string>& names = change.restarted;
  batch = std::max<std::size_t>(batch, 1);
  std::vector<Stage> result;
  std::size_t done = std::min(batch, names.size());
  for (std::size_t from = 0;; from = done, done = std::min(done + batch, names.size())) {
    Stage stage{.config = after};
    stage.restarted.assign(names.begin() + static_cast<std::ptrdiff_t>(from),
                           names.begin() + static_cast<std::ptrdiff_t>(done));
    for (Peer& peer : stage.config.peers) {
      const auto turn = std::find(names.begin(), names.end(), peer.name);
      if (turn == names.end() || turn < names.begin() + static_cast<std::ptrdiff_t>(done)) continue;
      peer = *old.at(peer.name);
      if (!peer.routerId && before.routerId != after.routerId) peer.routerId = before.routerId;
    }
    if (done < names.size()) keepFilters(before, stage.config);
    result.push_back(std::move(stage));
    if (done == names.size()) return result;
  }
}

}  // namespace culvert::bgp
