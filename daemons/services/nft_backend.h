#pragma once

#include <functional>
#include <map>
#include <set>

#include "daemons/services/frontend_state.h"
#include "netlink/nft.h"

namespace culvert::services {

/// Keeps table `inet culvert_services` as a Model wants it, one transaction for each change. Knows
/// what it has put there; adopt() finds out what an earlier life did.
class NftBackend {
 public:
  struct Settings {
    std::vector<IpPrefix> pods;             // who sends from them is a pod
    std::set<IpAddress> nodePortAddresses;  // of this node
  };
  struct Summary {
    std::size_t added = 0, removed = 0;  // elements
    bool rules = false;                  // were replaced
  };

  /// A port with session affinity, for one choice of its endpoints.
  struct Sticky {
    layout::StickyPort port;
    std::set<End> ends;
  };

  explicit NftBackend(nft::Connection connection) : nft_(std::move(connection)) {}

  /// Compares all of the table with the model, and changes what differs.
  Result<Summary> adopt(const Model& model, const Settings& settings);
  /// Looks at what has changed only. After an error the table is as it was, and so is what this
  /// class knows: the same change may be tried again.
  Result<Summary> apply(const Model& model, const Model::Change& change, const Settings& settings);

 private:
  /// What will be known once the transaction is committed; only what changes.
  struct Next {
    std::map<At, std::optional<FrontendState>> frontends;
    std::map<Key, std::map<std::string, Sticky>> stickies;
    std::map<Key, std::set<IpAddress>> local;
    std::map<IpAddress, bool> clusterIps;
    std::set<IpAddress> nodePortAddresses;
    layout::Shape shape;
    nft::Transaction removals, additions;
  };

  /// The order that a frontend's endpoints have so far.
  using Order = std::function<std::vector<End>(const At&, bool outside)>;
  void planFrontends(const Model& model, const Model::Change& change, const Order& order,
                     Next& next) const;
  void planServices(const Model& model, const Model::Change& change, Next& next) const;
  void planNodePorts(const Settings& settings, Next& next) const;
  Result<nft::Transaction> stickyChanges(Next& next, nft::Transaction& last);
  Result<void> changeMembers(const Sticky& before, const Sticky& now, Next& next);
  Result<Summary> commit(nft::Transaction before, Next next, nft::Transaction after);
  Result<nft::Transaction> missingRules(Next& next);
  void remember(Next next);

  nft::Connection nft_;
  std::map<At, FrontendState> frontends_;
  std::map<Key, std::map<std::string, Sticky>> stickies_;
  std::map<Key, std::set<IpAddress>> local_;   // endpoints on this node, of each Service
  std::map<IpAddress, std::size_t> hairpins_;  // how many Services have it so
  std::set<IpAddress> clusterIps_, nodePortAddresses_;
  layout::Shape shape_;
};

}  // namespace culvert::services
