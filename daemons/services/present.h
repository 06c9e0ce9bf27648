#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemons/services/element_batch.h"
#include "daemons/services/kernel.h"
#include "daemons/services/layout.h"

namespace culvert::services {

/// What an earlier life left in the table's sets, and which of it is wanted. Clients of ports with
/// session affinity are not looked at: they come and go by themselves.
class Present {
 public:
  /// Nothing, if there is no table.
  static Result<Present> read(Kernel& kernel);

  const nft::Element* find(const nft::Set& set, const nft::Value& key) const;

  /// Keeps of `additions` what is not there yet, adds to `removals` what is there with other data,
  /// and notes all of `additions` as wanted.
  void settle(ElementBatch& removals, ElementBatch& additions);

  /// Adds to `removals` the element, if it is there and not wanted.
  void dismiss(const nft::Set& set, const nft::Value& key, ElementBatch& removals);

  /// What was neither wanted nor dismissed.
  void addUnwanted(ElementBatch& removals) const;

  bool hasNoElements() const;
  std::size_t sizeOf(const std::string& set) const;

 private:
  struct Elements {
    nft::Set set;
    std::vector<nft::Element> sorted;  // by key
    std::vector<bool> wanted;
    std::size_t indexOf(const nft::Value& key) const;  // sorted.size(): none
  };
  std::map<std::string, Elements, std::less<>> sets_;
};

}  // namespace culvert::services
