#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"

namespace culvert::routing {

/// Which node has which network of pods. Two nodes that claim the same one are a conflict: who had
/// it first keeps it, so that a mistake elsewhere does not move traffic that works; at the start,
/// when nobody was first, the name that sorts lower.
class Claims {
 public:
  /// What `node` claims from now on. Returns the nodes whose networks changed hands, `node`
  /// included if any of its did.
  std::set<std::string> set(const std::string& node, const std::set<IpPrefix>& networks);

  /// The networks that `node` has, without those that somebody else keeps.
  std::vector<IpPrefix> ownedBy(const std::string& node) const;

  /// Whether anybody's network contains the address.
  bool cover(const IpAddress& address) const;

  struct Conflict {
    IpPrefix network;
    std::string owner;
    std::vector<std::string> others;
  };
  std::vector<Conflict> conflicts() const;

 private:
  struct Claim {
    std::string owner;
    std::set<std::string> nodes;  // the owner included
  };
  void drop(const IpPrefix& network, const std::string& node, std::set<std::string>& changed);
  void add(const IpPrefix& network, const std::string& node, std::set<std::string>& changed);

  std::map<IpPrefix, Claim> claims_;
  std::map<std::string, std::set<IpPrefix>> byNode_;
};

}  // namespace culvert::routing
