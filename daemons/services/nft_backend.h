#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "daemons/services/frontend_state.h"
#include "daemons/services/kernel.h"
#include "daemons/services/present.h"

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

  explicit NftBackend(std::unique_ptr<Kernel> kernel) : kernel_(std::move(kernel)) {}

  /// Compares all of the table with the model, and changes what differs: at a start, and after
  /// others have changed the table. A table that is not hooked in yet is filled in several steps.
  Result<Summary> adopt(const Model& model, const Settings& settings);
  /// The same in pieces, for when something in the model is refused: first this, which makes the
  /// rules; then apply() for whatever can be applied; then endAdoption(), which removes the rest.
  Result<void> beginAdoption(const Model& model, const Settings& settings);
  Result<Summary> endAdoption();
  /// Looks at what has changed only. After an error the table is as it was, and so is what this
  /// class knows: the same change may be tried again.
  Result<Summary> apply(const Model& model, const Model::Change& change, const Settings& settings);

  /// Whether there are chains and sets that nothing needs any more. They do no harm, and are likely
  /// to be needed again soon: tidy() when nothing happens.
  bool isUntidy() const { return shape_ != exactShape(); }
  Result<void> tidy();

  /// Whether the kernel keeps everybody else from changing the table (Linux 6.9).
  bool isProtected() const { return protected_; }
  /// By which an nft::Watch tells our changes from others'.
  std::uint32_t port() const { return kernel_->port(); }

 private:
  /// How many elements the sets have that decide on rules, by name.
  using Sizes = std::map<std::string, std::size_t, std::less<>>;

  /// What will be known once the transaction is committed; only what changes.
  struct Next {
    std::map<At, std::optional<FrontendState>> frontends;
    std::map<Key, std::map<std::string, Sticky>> stickies;
    std::map<Key, std::set<IpAddress>> local;
    std::map<IpAddress, bool> clusterIps;
    std::set<IpAddress> nodePortAddresses;
    layout::Shape shape;  // of the rules
    ElementBatch removals, additions;
    Sizes sizes;
  };

  /// How many frontends need a chain or set of the shape.
  struct Uses {
    std::map<layout::Place, std::map<std::uint32_t, std::size_t>> counts;
    std::map<std::pair<Family, std::uint8_t>, std::size_t> sourceLengths;
    void add(const At& at, const FrontendState& state);
    void remove(const At& at, const FrontendState& state);
  };
  layout::Shape exactShape() const;

  /// The order that a frontend's endpoints have so far.
  using Order = std::function<std::vector<End>(const At&, bool outside)>;
  void planFrontends(const Model& model, const std::set<At>& frontends, const Order& order,
                     Next& next) const;
  void planClusterIps(const Model& model, const std::set<At>& frontends, Next& next) const;
  void planServices(const Model& model, const std::set<Key>& services, Next& next) const;
  void planNodePorts(const Settings& settings, Next& next) const;
  static void count(const ElementBatch& removals, const ElementBatch& additions, Sizes& sizes);
  static void noteFilled(Next& next);
  static void addMembers(Next& next);
  Result<nft::Transaction> stickyChanges(Next& next, nft::Transaction& last);
  Result<void> changeMembers(const Sticky& before, const Sticky& now, Next& next);
  Result<Summary> commit(nft::Transaction before, Next next, nft::Transaction after);
  Result<nft::Transaction> missingRules(Next& next);
  Result<bool> look();
  void addStale(const At& at, Next& next);
  Result<void> own(bool isNew);
  Result<void> prepare(const Next& next);
  Result<std::size_t> fill(const Model& model, const std::set<At>& frontends, Next& next);
  Result<nft::Transaction> leftovers(const nft::Transaction& wanted);
  void forget();
  void remember(Next next);

  std::unique_ptr<Kernel> kernel_;
  std::map<At, FrontendState> frontends_;
  std::map<Key, std::map<std::string, Sticky>> stickies_;
  std::map<Key, std::set<IpAddress>> local_;   // endpoints on this node, of each Service
  std::map<IpAddress, std::size_t> hairpins_;  // how many Services have it so
  std::set<IpAddress> clusterIps_, nodePortAddresses_;
  layout::Shape shape_;  // of the rules as they are
  Uses uses_;
  Sizes sizes_;
  std::optional<Present> present_;  // while the table is being adopted
  bool protected_ = false;
};

}  // namespace culvert::services
