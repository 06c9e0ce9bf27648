#include "daemons/routing/claims.h"

namespace culvert::routing {

std::set<std::string> Claims::set(const std::string& node, const std::set<IpPrefix>& networks) {
  std::set<std::string> changed;
  std::set<IpPrefix>& own = byNode_[node];
  for (const IpPrefix& network : own) {
    if (networks.count(network) == 0) drop(network, node, changed);
  }
  for (const IpPrefix& network : networks) {
    if (own.count(network) == 0) add(network, node, changed);
  }
  own = networks;
  if (own.empty()) byNode_.erase(node);
  return changed;
}

void Claims::drop(const IpPrefix& network, const std::string& node,
                  std::set<std::string>& changed) {
  const auto found = claims_.find(network);
  Claim& claim = found->second;
  claim.nodes.erase(node);
  if (claim.owner != node) return;
  changed.insert(node);
  if (claim.nodes.empty()) {
    claims_.erase(found);
    return;
  }
  claim.owner = *claim.nodes.begin();
  changed.insert(claim.owner);
}

void Claims::add(const IpPrefix& network, const std::string& node, std::set<std::string>& changed) {
  Claim& claim = claims_[network];
  claim.nodes.insert(node);
  if (!claim.owner.empty()) return;
  claim.owner = node;
  changed.insert(node);
}

std::vector<IpPrefix> Claims::ownedBy(const std::string& node) const {
  std::vector<IpPrefix> owned;
  const auto found = byNode_.find(node);
  if (found == byNode_.end()) return owned;
  for (const IpPrefix& network : found->second) {
    if (claims_.at(network).owner == node) owned.push_back(network);
  }
  return owned;
}

bool Claims::cover(const IpAddress& address) const {
  for (int length = addressBits(address.family()); length >= 0; --length) {
    if (claims_.count(IpPrefix(address, static_cast<std::uint8_t>(length)).network()) != 0)
      return true;
  }
  return false;
}

std::vector<Claims::Conflict> Claims::conflicts() const {
  std::vector<Conflict> result;
  for (const auto& [network, claim] : claims_) {
    if (claim.nodes.size() < 2) continue;
    Conflict conflict{network, claim.owner, {}};
    for (const std::string& node : claim.nodes) {
      if (node != claim.owner) conflict.others.push_back(node);
    }
    result.push_back(std::move(conflict));
  }
  return result;
}

}  // namespace culvert::routing
