#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemons/objects/ip_pool.h"
#include "daemons/objects/node.h"
#include "daemons/routing/claims.h"

namespace culvert::routing {

/// Something that is wrong, and what to do about it.
struct Problem {
  std::string what, remedy;
  bool operator==(const Problem&) const = default;
};

/// What the source says, as routing sees it: which node has which networks, and whose plans have to
/// be made anew. Pure. Objects are referred to, not copied: they must live until they are replaced
/// or removed here.
class Model {
 public:
  explicit Model(std::string thisNode) : thisNode_(std::move(thisNode)) {}

  /// Null removes it.
  void setNode(const std::string& name, const objects::Node* node);
  void setPool(const std::string& name, const objects::IpPool* pool);
  void setBlock(const std::string& name, const objects::AddressBlock* block);

  const std::string& thisNode() const { return thisNode_; }
  /// Null as long as the source has no such node.
  const objects::Node* self() const { return find(thisNode_); }
  const objects::Node* find(const std::string& node) const;
  const std::map<std::string, const objects::Node*>& nodes() const { return nodes_; }
  std::vector<objects::IpPool> pools() const;
  const std::map<std::string, const objects::AddressBlock*>& blocks() const { return blocks_; }

  /// This node's own networks: its podCIDRs and its blocks.
  std::vector<IpPrefix> ownNetworks() const { return claims_.ownedBy(thisNode_); }
  /// What a node has of what it claims, whether it can be routed to it or not.
  std::vector<IpPrefix> claimedBy(const std::string& node) const { return claims_.ownedBy(node); }
  /// A peer's, without those that cannot be routed to it (problems() says why).
  std::vector<IpPrefix> networksOf(const std::string& peer) const;

  /// Whose plans have to be made anew since the last call.
  struct Dirty {
    bool all = false;
    std::set<std::string> peers;
    bool empty() const { return !all && peers.empty(); }
  };
  Dirty takeDirty() { return std::exchange(dirty_, {}); }

  std::vector<Problem> problems() const;

 private:
  void updateEndpoints(const std::string& node);
  std::string nodeAt(const IpAddress& address) const;
  void updateClaims(const std::string& node);
  std::optional<Problem> swallows(const std::string& name, const objects::IpPool& pool) const;
  std::optional<Problem> refusal(const std::string& peer, const IpPrefix& network) const;

  std::string thisNode_;
  std::map<std::string, const objects::Node*> nodes_;
  std::map<std::string, const objects::IpPool*> pools_;
  std::map<std::string, const objects::AddressBlock*> blocks_;
  std::map<std::string, std::string> blockNodes_;  // of each block, as it was last
  std::map<std::string, std::set<IpPrefix>> blocksOf_;
  std::map<std::string, objects::PerFamily<std::optional<IpAddress>>> endpointsOf_;
  std::map<IpAddress, unsigned> endpoints_;  // of how many nodes each is the address
  Claims claims_;
  Dirty dirty_;
};

}  // namespace culvert::routing
