#include "hostfw/owned_table.h"

namespace culvert::hostfw {
namespace {

using nft::Element;

Result<bool> hasOthers(nft::Connection& nft, const nft::Set& set, const Removal& removal) {
  return nft.anyElement(
      set, [&](const Element& element) { return !removal.contains(set, element.key); });
}

/// Whether anything is left in the table but what is removed and what we create empty.
Result<bool> isInUse(nft::Connection& nft, const OwnedTable& owned, const Removal& removal) {
  // Almost always somebody else is in the index, and a look at it answers.
  if (TRY(hasOthers(nft, owned.index, removal))) return true;
  for (const nft::Chain& chain : TRY(nft.listChains(owned.table))) {
    if (std::count(owned.chains.begin(), owned.chains.end(), chain.name) == 0) return true;
  }
  for (const nft::Set& set : TRY(nft.listSets(owned.table))) {
    const bool isForeign = set.key.empty();
    if (isForeign || TRY(hasOthers(nft, set, removal))) return true;
  }
  return false;
}

/// The owners that are not to stay.
class Invalid {
 public:
  Invalid(const std::string& network, const std::set<Attachment>& valid)
      : network_(ownerHash({network, {}, {}}).network) {
    for (const Attachment& attachment : valid)
      valid_.insert(ownerHash({network, attachment.containerId, attachment.ifName}).attachment);
  }
  bool owns(const Element& element) const {
    const auto hash = parseOwnerTag(element.comment);
    return hash && hash->network == network_ && valid_.count(hash->attachment) == 0;
  }

 private:
  std::string network_;
  std::set<std::string> valid_;
};

using Candidates = std::vector<nft::Connection::ElementQuery>;

Result<Candidates> listCandidates(nft::Connection& nft, const nft::Table& table,
                                  const Invalid& invalid) {
  Candidates candidates;
  auto sets = nft.listSets(table);
  if (!sets && sets.error().code == Errc::kNotFound) return candidates;
  for (const nft::Set& set : TRY(std::move(sets))) {
    if (set.key.empty()) continue;
    for (const Element& element : TRY(nft.listElements(set))) {
      if (invalid.owns(element)) candidates.push_back({set, element.key});
    }
  }
  return candidates;
}

}  // namespace

bool belongsTo(const Element& element, const OwnerHash& owner) {
  return parseOwnerTag(element.comment) == owner;
}

Result<void> addOccupants(nft::Connection& nft, const std::vector<Placed>& elements,
                          Removal& removal) {
  std::vector<nft::Connection::ElementQuery> queries;
  queries.reserve(elements.size());
  for (const auto& [set, element] : elements)
    queries.push_back({set, element.key});
  const auto found = TRY(nft.findElements(queries));
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i]) removal.add(queries[i].set, queries[i].key);
  }
  return {};
}

Result<bool> createElements(nft::Connection& nft, const std::vector<Placed>& elements) {
  std::vector<nft::Set> sets;
  sets.reserve(elements.size());
  for (const auto& [set, element] : elements)
    sets.push_back(set);
  const auto exist = TRY(nft.findSets(sets));
  if (std::count(exist.begin(), exist.end(), false) != 0) return false;
  Removal occupants;
  TRY(addOccupants(nft, elements, occupants));
  if (!occupants.empty()) return false;

  nft::Transaction tx;
  for (const auto& [set, element] : elements)
    tx.create(set, element);
  const auto created = nft.commit(tx);
  if (created) return true;
  const Errc code = created.error().code;
  if (code == Errc::kAlreadyExists || code == Errc::kNotFound) return false;  // somebody was faster
  return created.error();
}

std::size_t Removal::countIn(const nft::Set& set) const {
  return static_cast<std::size_t>(std::count_if(
      keys_.begin(), keys_.end(), [&](const auto& entry) { return entry.first == set.name; }));
}

Result<void> commitRemoval(nft::Connection& nft, const OwnedTable& owned, const Removal& removal,
                           nft::Generation seen) {
  if (TRY(isInUse(nft, owned, removal))) return nft.commit(removal.transaction(), seen);
  nft::Transaction whole;
  whole.remove(owned.table);
  return nft.commit(whole, seen);
}

Result<std::size_t> collectInvalid(nft::Connection& nft, const OwnedTable& owned,
                                   const std::string& network, const std::set<Attachment>& valid,
                                   const std::vector<nft::Set>& counted) {
  const Invalid invalid(network, valid);
  // Listing takes long enough for others to change something; looking again at what was found
  // does not, so only that must fit between two changes.
  const Candidates candidates = TRY(listCandidates(nft, owned.table, invalid));
  if (candidates.empty()) return std::size_t{0};
  std::size_t count = 0;
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    Removal removal;
    const auto found = TRY(nft.findElements(candidates));
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] && invalid.owns(*found[i])) removal.add(candidates[i].set, candidates[i].key);
    }
    count = 0;
    for (const nft::Set& set : counted)
      count += removal.countIn(set);
    if (removal.empty()) return {};
    return commitRemoval(nft, owned, removal, seen);
  };
  TRY(retryOnConflict(nft, attempt));
  return count;
}

}  // namespace culvert::hostfw
