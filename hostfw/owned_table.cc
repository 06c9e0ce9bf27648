#include "hostfw/owned_table.h"

#include <charconv>

#include "hostfw/inet_table.h"

namespace culvert::hostfw {
namespace {

using nft::Element;

Result<bool> hasOthers(nft::Connection& nft, const nft::Set& set, const Removal& removal) {
  return nft.anyElement(
      set, [&](const Element& element) { return !removal.contains(set, element.key); });
}

/// Eight hex digits, so that nft prints them as they are.
nft::Value hexMark(const std::string& hex, std::size_t at) {
  std::uint32_t mark = 0;
  std::from_chars(hex.data() + at, hex.data() + at + 8, mark, 16);
  return nft::Value::mark(mark);
}

bool isNamed(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    if (pattern.back() != '*') return name == pattern;
    return name.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) == 0;
  });
}

/// The chains made for operators.
Result<std::set<std::string>> listHooked(nft::Connection& nft, const OwnedTable& owned) {
  std::set<std::string> names;
  if (!owned.hooks) return names;
  auto rules = nft.listRules(*owned.hooks);
  if (!rules && rules.error().code == Errc::kNotFound) return names;
  for (const auto& rule : TRY(std::move(rules)))
    names.insert(rule.target);
  return names;
}

Result<bool> hasForeignChain(nft::Connection& nft, const OwnedTable& owned) {
  const auto hooked = TRY(listHooked(nft, owned));
  for (const nft::Chain& chain : TRY(nft.listChains(owned.table))) {
    if (isNamed(chain.name, owned.chains)) continue;
    const bool isEmptyHook = hooked.count(chain.name) != 0 && TRY(nft.listRules(chain)).empty();
    if (!isEmptyHook) return true;
  }
  return false;
}

/// Whether anything is left in the table but what is removed and what we create empty.
Result<bool> isInUse(nft::Connection& nft, const OwnedTable& owned, const Removal& removal) {
  // Almost always somebody else is in an index, and a look at it answers.
  for (const nft::Set& index : owned.indexes) {
    const auto others = hasOthers(nft, index, removal);
    if (others && *others) return true;
    if (!others && others.error().code != Errc::kNotFound) return others.error();
  }
  if (TRY(hasForeignChain(nft, owned))) return true;
  for (const nft::Set& set : TRY(nft.listSets(owned.table))) {
    if (owned.localnet && set.name == owned.localnet->name) continue;
    if (set.key.empty() || TRY(hasOthers(nft, set, removal))) return true;
  }
  return false;
}

using Candidates = std::vector<nft::Connection::ElementQuery>;

Result<Candidates> listCandidates(nft::Connection& nft, const nft::Table& table,
                                  const Invalid& invalid,
                                  bool (*isMine)(const std::string& setName)) {
  Candidates candidates;
  auto sets = nft.listSets(table);
  if (!sets && sets.error().code == Errc::kNotFound) return candidates;
  for (const nft::Set& set : TRY(std::move(sets))) {
    if (set.key.empty() || !isMine(set.name)) continue;
    for (const Element& element : TRY(nft.listElements(set))) {
      if (invalid.owns(element)) candidates.push_back({set, element.key});
    }
  }
  return candidates;
}

}  // namespace

Invalid::Invalid(const std::string& network, const std::set<Attachment>& valid)
    : network_(ownerHash({network, {}, {}}).network) {
  for (const Attachment& attachment : valid)
    valid_.insert(ownerHash({network, attachment.containerId, attachment.ifName}).attachment);
}

bool Invalid::owns(const Element& element) const {
  const auto hash = parseOwnerTag(element.comment);
  return hash && hash->network == network_ && valid_.count(hash->attachment) == 0;
}

nft::TypeList ownerKeyTypes() {
  using nft::DataType;
  return {DataType::kMark, DataType::kMark, DataType::kMark, DataType::kMark,
          DataType::kInetService};
}

nft::Value ownerKey(const OwnerHash& owner, std::size_t number) {
  return nft::Value::concat({hexMark(owner.network, 0), hexMark(owner.network, 8),
                             hexMark(owner.attachment, 0), hexMark(owner.attachment, 8),
                             nft::Value::port(static_cast<std::uint16_t>(number))});
}

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

Result<bool> createElements(nft::Connection& nft, const std::vector<Placed>& elements,
                            const std::vector<Placed>& shared) {
  std::vector<nft::Set> sets;
  for (const auto* list : {&elements, &shared}) {
    for (const auto& [set, element] : *list) {
      if (sets.empty() || sets.back() != set) sets.push_back(set);
    }
  }
  const auto exist = TRY(nft.findSets(sets));
  if (std::count(exist.begin(), exist.end(), false) != 0) return false;
  Removal occupants;
  TRY(addOccupants(nft, elements, occupants));
  if (!occupants.empty()) return false;

  nft::Transaction tx;
  for (const auto& [set, element] : elements)
    tx.create(set, element);
  for (const auto& [set, element] : shared)
    tx.add(set, element);
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
  if (!owned.localnet) return nft.commit(whole, seen);
  // First the switch, then the filter; and back if somebody needs both after all.
  const auto interfaces = TRY(localnet::disableAll(nft));
  auto committed = nft.commit(whole, seen);
  for (const std::string& name : interfaces) {
    if (!committed) static_cast<void>(localnet::enable(name));
  }
  return committed;
}

Result<std::size_t> collectInvalid(nft::Connection& nft, const OwnedTable& owned,
                                   const std::string& network, const std::set<Attachment>& valid,
                                   const std::vector<nft::Set>& counted,
                                   bool (*isMine)(const std::string& setName)) {
  const Invalid invalid(network, valid);
  // Listing takes long enough for others to change something; looking again at what was found
  // does not, so only that must fit between two changes.
  const Candidates candidates = TRY(listCandidates(nft, owned.table, invalid, isMine));
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
