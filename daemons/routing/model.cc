#include "daemons/routing/model.h"

#include <algorithm>

namespace culvert::routing {
namespace {

using objects::AddressBlock;
using objects::IpPool;
using objects::Node;

constexpr Family kFamilies[] = {Family::kV4, Family::kV6};

bool has(const Node& node, const IpPool& pool) {
  const auto& endpoint = node.endpoint.of(pool.cidr.family());
  return endpoint && pool.cidr.contains(*endpoint);
}

template <class T>
void put(std::map<std::string, const T*>& objects, const std::string& name, const T* object) {
  if (object == nullptr)
    objects.erase(name);
  else
    objects[name] = object;
}

}  // namespace

const Node* Model::find(const std::string& node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : found->second;
}

void Model::setNode(const std::string& name, const Node* node) {
  put(nodes_, name, node);
  updateEndpoints(name);
  updateClaims(name);
  if (name != thisNode_) dirty_.peers.insert(name);
}

void Model::setPool(const std::string& name, const IpPool* pool) {
  put(pools_, name, pool);
  dirty_.all = true;
}

void Model::setBlock(const std::string& name, const AddressBlock* block) {
  const auto former = blockNodes_.find(name);
  if (former != blockNodes_.end()) {
    const std::string node = former->second;
    blockNodes_.erase(former);
    blocksOf_[node].erase(blocks_.at(name)->cidr);
    updateClaims(node);
  }
  put(blocks_, name, block);
  if (block == nullptr) return;
  blockNodes_[name] = block->node;
  blocksOf_[block->node].insert(block->cidr);
  updateClaims(block->node);
}

/// An address within somebody's network takes that network's route away, or gives it back.
void Model::updateEndpoints(const std::string& node) {
  const Node* found = find(node);
  for (const Family family : kFamilies) {
    const auto now = found != nullptr ? found->endpoint.of(family) : std::nullopt;
    auto& known = endpointsOf_[node].of(family);
    const auto before = std::exchange(known, now);
    if (before == now) continue;
    if (before && --endpoints_[*before] == 0) endpoints_.erase(*before);
    if (now) ++endpoints_[*now];
    if ((before && claims_.cover(*before)) || (now && claims_.cover(*now))) dirty_.all = true;
  }
  if (found == nullptr) endpointsOf_.erase(node);
}

/// Whose address it is; of several nodes, the first.
std::string Model::nodeAt(const IpAddress& address) const {
  const auto has = [&](const auto& each) {
    return each.second->endpoint.of(address.family()) == address;
  };
  const auto found = std::find_if(nodes_.begin(), nodes_.end(), has);
  return found == nodes_.end() ? "" : found->first;
}

void Model::updateClaims(const std::string& node) {
  std::set<IpPrefix> networks;
  if (const Node* found = find(node)) {
    networks.insert(found->podCidrs.begin(), found->podCidrs.end());
    const auto blocks = blocksOf_.find(node);
    if (blocks != blocksOf_.end()) networks.insert(blocks->second.begin(), blocks->second.end());
  }
  for (const std::string& changed : claims_.set(node, networks)) {
    if (changed == thisNode_)
      dirty_.all = true;  // what peers may have depends on what we have
    else
      dirty_.peers.insert(changed);
  }
}

std::vector<IpPool> Model::pools() const {
  std::vector<IpPool> result;
  for (const auto& [name, pool] : pools_)
    result.push_back(*pool);
  return result;
}

std::optional<Problem> Model::refusal(const std::string& peer, const IpPrefix& network) const {
  const std::string claim = "node " + peer + " claims " + network.text();
  if (network.isDefault())
    return Problem{claim + ", which is everything", "give the node a pod network of its own"};
  for (const IpPrefix& own : ownNetworks()) {
    if (own.overlaps(network))
      return Problem{claim + ", which overlaps this node's " + own.text(),
                     "give one of the two nodes another network"};
  }
  const Node* self = this->self();
  for (const Family family : kFamilies) {
    if (self != nullptr && self->endpoint.of(family) &&
        network.contains(*self->endpoint.of(family)))
      return Problem{
          claim + ", which contains this node's own address " + self->endpoint.of(family)->text(),
          "choose pod networks that the fabric does not use"};
    const auto& endpoint = nodes_.at(peer)->endpoint.of(family);
    if (endpoint && network.contains(*endpoint))
      return Problem{claim + ", which contains its own address " + endpoint->text(),
                     "choose pod networks that the fabric does not use"};
    for (const IpPrefix& own : ownNetworks()) {
      if (endpoint && own.contains(*endpoint))
        return Problem{"node " + peer + " has the address " + endpoint->text() +
                           ", which is in this node's pod network " + own.text(),
                       "choose pod networks that the fabric does not use"};
    }
  }
  const auto other = endpoints_.lower_bound(network.network().address());
  if (other != endpoints_.end() && network.contains(other->first))
    return Problem{claim + ", which contains the address " + other->first.text() + " of node " +
                       nodeAt(other->first),
                   "choose pod networks that the fabric does not use"};
  return std::nullopt;
}

std::vector<IpPrefix> Model::networksOf(const std::string& peer) const {
  std::vector<IpPrefix> networks;
  for (const IpPrefix& network : claims_.ownedBy(peer)) {
    if (!refusal(peer, network)) networks.push_back(network);
  }
  return networks;
}

/// Of many nodes with addresses in a pool, the first.
std::optional<Problem> Model::swallows(const std::string& name, const IpPool& pool) const {
  const auto inside = [&](const auto& each) { return has(*each.second, pool); };
  const auto first = std::find_if(nodes_.begin(), nodes_.end(), inside);
  if (first == nodes_.end()) return std::nullopt;
  const auto more = std::count_if(std::next(first), nodes_.end(), inside);
  return Problem{"pool " + name + " contains the address " +
                     first->second->endpoint.of(pool.cidr.family())->text() + " of node " +
                     first->first + (more == 0 ? "" : " (and " + std::to_string(more) + " more)"),
                 "choose pod networks that the fabric does not use"};
}

std::vector<Problem> Model::problems() const {
  std::vector<Problem> result;
  for (const Claims::Conflict& conflict : claims_.conflicts()) {
    for (const std::string& other : conflict.others)
      result.push_back({"nodes " + conflict.owner + " and " + other + " both claim " +
                            conflict.network.text() + "; " + conflict.owner + " keeps it",
                        "remove it from one of them"});
  }
  for (const auto& [name, node] : nodes_) {
    if (name == thisNode_) continue;
    for (const IpPrefix& network : claims_.ownedBy(name)) {
      if (auto problem = refusal(name, network)) result.push_back(*std::move(problem));
    }
  }
  for (auto one = pools_.begin(); one != pools_.end(); ++one) {
    if (auto problem = swallows(one->first, *one->second)) result.push_back(*std::move(problem));
    for (auto other = std::next(one); other != pools_.end(); ++other) {
      if (one->second->cidr.overlaps(other->second->cidr))
        result.push_back({"pools " + one->first + " and " + other->first + " overlap",
                          "nodes take blocks from neither until one of them changes"});
    }
  }
  return result;
}

}  // namespace culvert::routing
