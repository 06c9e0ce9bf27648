#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemons/services/kernel.h"

namespace culvert::services::test {

/// One table of nf_tables, as a value.
struct Ruleset {
  struct ChainState {
    nft::Chain chain;
    std::vector<nft::Rule> rules;
  };
  struct SetState {
    nft::Set set;
    std::map<nft::Value, nft::Element> elements;
  };
  bool exists = false, owned = false;
  std::map<std::string, ChainState> chains;
  std::map<std::string, SetState> sets;

  /// Does what the transaction says, or what the kernel would refuse of it is the error; then this
  /// is half done, so work on a copy.
  Result<void> apply(const nft::Transaction& transaction);
};

/// nf_tables in memory: one table, inet culvert_services. It is there as long as this object, like
/// the kernel's while one daemon after another lives.
class FakeKernel {
 public:
  /// For one NftBackend; must not outlive this object.
  std::unique_ptr<Kernel> connect();

  const Ruleset& ruleset() const { return ruleset_; }
  /// What a rule of ours would do: `update`.
  void put(const std::string& set, const nft::Element& element) {
    ruleset_.sets.at(set).elements.insert_or_assign(element.key, element);
  }
  /// Transactions that changed something, or could have: all but owning the table.
  std::size_t commits() const { return commits_; }
  /// Asked before each commit; those for which it says true fail and change nothing.
  void failIf(std::function<bool()> fails) { fails_ = std::move(fails); }

 private:
  class Connected;
  Result<void> commit(const nft::Transaction& transaction);

  Ruleset ruleset_;
  std::size_t commits_ = 0;
  std::function<bool()> fails_;
};

}  // namespace culvert::services::test
