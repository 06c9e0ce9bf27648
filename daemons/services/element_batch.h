#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "netlink/nft.h"

namespace culvert::services {

/// Elements to add, or to remove, gathered by set: a transaction then has one operation for each
/// set, however the elements came.
class ElementBatch {
 public:
  void add(const nft::Set& set, nft::Element element) {
    auto at = sets_.find(set.name);
    if (at == sets_.end())
      at = sets_.emplace(set.name, nft::Transaction::ElementsOf{set, {}}).first;
    at->second.elements.push_back(std::move(element));
    ++size_;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// Calls visit(set, elements) for each set; the elements may be moved from.
  template <class Visit>
  void forEachSet(Visit visit) {
    for (auto& [name, of] : sets_)
      visit(of.set, of.elements);
  }
  template <class Visit>
  void forEachSet(Visit visit) const {
    for (const auto& [name, of] : sets_)
      visit(of.set, of.elements);
  }

  nft::Transaction additions() && { return take(nft::Transaction::Verb::kAdd); }
  nft::Transaction removals() && { return take(nft::Transaction::Verb::kRemove); }

 private:
  nft::Transaction take(nft::Transaction::Verb verb) {
    nft::Transaction tx;
    for (auto& [name, of] : std::exchange(sets_, {})) {
      if (verb == nft::Transaction::Verb::kAdd)
        tx.add(std::move(of));
      else
        tx.remove(std::move(of));
    }
    size_ = 0;
    return tx;
  }

  std::map<std::string, nft::Transaction::ElementsOf, std::less<>> sets_;
  std::size_t size_ = 0;
};

}  // namespace culvert::services
