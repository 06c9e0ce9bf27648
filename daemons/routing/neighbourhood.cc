#include "daemons/routing/neighbourhood.h"

#include <linux/neighbour.h>

#include <algorithm>

namespace culvert::routing {
namespace {

constexpr std::uint16_t kAnswers =
    NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;

}  // namespace

bool Neighbourhood::note(const netlink::NeighbourSpec& neighbour, Time now) {
  const bool answers = (neighbour.state & kAnswers) != 0;
  if (!answers && (neighbour.state & NUD_FAILED) == 0) return false;
  const Entry entry{answers, answers ? neighbour.mac : std::nullopt};
  const auto [known, isNew] = entries_.emplace(neighbour.address, entry);
  if (!isNew && known->second == entry) return false;
  known->second = entry;
  if (gateways_.of(neighbour.address.family()) == neighbour.address) return true;
  const bool isSuspect = suspects_.count(neighbour.address) != 0;
  if (isGood(neighbour.address)) {
    if (isSuspect) suspects_[neighbour.address] = now;
    return isSuspect || !isNew;
  }
  suspects_[neighbour.address] = std::nullopt;
  return true;
}

void Neighbourhood::setGateways(const objects::PerFamily<std::optional<IpAddress>>& gateways) {
  gateways_ = gateways;
}

bool Neighbourhood::isGood(const IpAddress& address) const {
  const auto entry = entries_.find(address);
  if (entry == entries_.end()) return true;
  if (!entry->second.answers) return false;
  const auto& gateway = gateways_.of(address.family());
  if (!gateway || *gateway == address || !entry->second.mac) return true;
  const auto router = entries_.find(*gateway);
  return router == entries_.end() || router->second.mac != entry->second.mac;
}

bool Neighbourhood::trusts(const IpAddress& address, Time now) {
  if (!isGood(address)) {
    suspects_[address] = std::nullopt;
    return false;
  }
  const auto suspect = suspects_.find(address);
  if (suspect == suspects_.end()) return true;
  if (!suspect->second) suspect->second = now;
  if (now - *suspect->second < kHold) return false;
  suspects_.erase(suspect);
  return true;
}

Neighbourhood::Time Neighbourhood::next() const {
  Time first = Time::max();
  for (const auto& [address, since] : suspects_) {
    if (since) first = std::min(first, *since + kHold);
  }
  return first;
}

}  // namespace culvert::routing
