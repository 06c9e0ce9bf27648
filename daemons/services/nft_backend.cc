#include "daemons/services/nft_backend.h"

#include <algorithm>

#include "base/digest.h"

namespace culvert::services {
namespace {

using layout::Place;
using layout::Shape;
using layout::StickyPort;
using nft::Transaction;

Place placeOf(const At& at, bool outside) {
  return {at.address.family(), at.address.isUnspecified(), outside};
}

std::string digestOf(const Shape& shape) {
  return sha512Hex(layout::render(shape, "").toText(), 16);
}

/// The number of endpoints decides about chains, lengths of source ranges about sets.
template <class OnCount, class OnLength>
void forEachUse(const At& at, const FrontendState& state, OnCount onCount, OnLength onLength) {
  const auto visit = [&](bool outside, const FrontendState::View& view) {
    if (view.sticky.empty() && (outside || !view.ends.empty()))
      onCount(placeOf(at, outside), static_cast<std::uint32_t>(view.ends.size()));
  };
  visit(false, state.all);
  if (state.outside) visit(true, *state.outside);
  for (const IpPrefix& source : state.sources)
    onLength(std::pair(source.family(), source.length()));
}

void noteShape(const At& at, const FrontendState& state, Shape& shape) {
  forEachUse(
      at, state,
      [&](const Place& place, std::uint32_t count) { shape.counts[place].insert(count); },
      [&](const auto& length) { shape.sourceLengths.insert(length); });
}

/// Whether the rules of `shape` do for `wanted` as well.
bool serves(const Shape& shape, const Shape& wanted) {
  const auto includes = [](const auto& all, const auto& some) {
    return std::includes(all.begin(), all.end(), some.begin(), some.end());
  };
  return shape.pods == wanted.pods && includes(shape.filled, wanted.filled) &&
         includes(shape.sourceLengths, wanted.sourceLengths) &&
         std::all_of(wanted.counts.begin(), wanted.counts.end(), [&](const auto& of) {
           const auto known = shape.counts.find(of.first);
           return known != shape.counts.end() && includes(known->second, of.second);
         });
}

/// Names of chains and sets.
struct Names {
  std::set<std::string> chains, sets;
};

Names namesIn(const Transaction& tx) {
  Names names;
  for (const Transaction::Operation& operation : tx.operations()) {
    if (const auto* chain = std::get_if<nft::Chain>(&operation.what))
      names.chains.insert(chain->name);
    if (const auto* set = std::get_if<nft::Set>(&operation.what)) names.sets.insert(set->name);
  }
  return names;
}

/// Removes what is in `before` and not in `now`.
Transaction removeOthers(const Names& before, const Names& now) {
  Transaction flushes, removals;
  for (const std::string& name : before.chains) {
    if (now.chains.count(name) != 0) continue;
    flushes.flush(nft::Chain{layout::table(), name});
    removals.remove(nft::Chain{layout::table(), name});
  }
  for (const std::string& name : before.sets) {
    if (now.sets.count(name) == 0) removals.remove(nft::Set{layout::table(), name, {}});
  }
  flushes.append(std::move(removals));
  return flushes;
}

std::set<IpAddress> localAddresses(const std::vector<PortPlan>& plans) {
  std::set<IpAddress> all;
  for (const PortPlan& port : plans) {
    for (const auto* backends : {&port.cluster, &port.local}) {
      for (const Backend& backend : *backends) {
        if (backend.local) all.insert(backend.address);
      }
    }
  }
  return all;
}

using Stickies = std::map<std::string, NftBackend::Sticky>;

Stickies stickyPorts(const Key& service, const std::vector<PortPlan>& plans) {
  Stickies all;
  for (const PortPlan& port : plans) {
    for (const Frontend& frontend : port.frontends) {
      const At at = placeOf(port, frontend);
      const auto add = [&](bool outside, const FrontendState::View& view) {
        if (view.sticky.empty() || view.ends.empty()) return;
        NftBackend::Sticky& sticky = all[view.sticky];
        sticky.port.name = view.sticky;
        sticky.port.family = port.family;
        sticky.port.timeout = port.affinity;
        sticky.port.places[placeOf(at, outside)] = static_cast<std::uint32_t>(view.ends.size());
        sticky.ends = {view.ends.begin(), view.ends.end()};
      };
      const FrontendState state = stateOf({service, &port, &frontend});
      add(false, state.all);
      if (state.outside) add(true, *state.outside);
    }
  }
  return all;
}

/// Chains of places that a sticky port is not reached at any more.
void removeLostPlaces(const StickyPort& before, const StickyPort& now, Transaction& tx) {
  for (const auto& [place, count] : before.places) {
    if (now.places.count(place) != 0) continue;
    const nft::Chain lost = layout::stickyChain(place, before.name);
    tx.flush(lost);
    tx.remove(lost);
  }
}

nft::Element elementOf(const End& end) {
  return {nft::Value::concat({end.address, nft::Value::port(end.port)})};
}

/// A frontend's endpoints in the kernel, up to the first hole.
std::vector<End> endsIn(const Present& present, const At& at, bool outside) {
  std::vector<End> ends;
  const Place place = placeOf(at, outside);
  const nft::Set& set = layout::endpoints(place);
  for (std::uint32_t index = 0;; ++index) {
    const nft::Element* element = present.find(set, layout::endpointKey(place, at, index));
    if (element == nullptr) return ends;
    const auto fields = std::get<nft::Value>(element->data).split(set.data);
    ends.push_back({fields.at(0).address(place.family), fields.at(1).port()});
  }
}

/// Whether the rules of `wanted` are there, by the comment that the first rule of `first` has, and
/// by their number in each chain: others may have added or removed some.
Result<bool> hasRules(Kernel& nft, const Transaction& wanted, const nft::Chain& first,
                      const std::string& comment) {
  for (const auto& [name, count] : nft::countRules(wanted)) {
    const auto rules = nft.listRules({layout::table(), name});
    if (!rules && rules.error().code != Errc::kNotFound) return rules.error();
    if (!rules || rules->size() != count) return false;
    if (name == first.name && rules->front().comment != comment) return false;
  }
  return true;
}

/// All that should be there but elements.
Transaction wantedRules(const Shape& shape, const std::map<Key, Stickies>& stickies) {
  Transaction tx = layout::render(shape, digestOf(shape));
  for (const auto& [key, ports] : stickies) {
    for (const auto& [name, sticky] : ports)
      layout::addSticky(sticky.port, tx);
  }
  return tx;
}

/// Whether packets come through the table.
Result<bool> isHooked(Kernel& nft) {
  const auto chains = nft.listChains(layout::table());
  if (!chains && chains.error().code != Errc::kNotFound) return chains.error();
  return chains && std::any_of(chains->begin(), chains->end(),
                               [](const nft::Chain& chain) { return chain.hook.has_value(); });
}

}  // namespace

void NftBackend::planFrontends(const Model& model, const std::set<At>& frontends,
                               const Order& order, Next& next) const {
  for (const At& at : frontends) {
    const auto known = frontends_.find(at);
    const FrontendState* before = known == frontends_.end() ? nullptr : &known->second;
    std::optional<FrontendState>& now = next.frontends[at];
    if (const auto held = model.find(at)) {
      now = stateOf(*held);
      now->all.ends = keepOrder(order(at, false), std::move(now->all.ends));
      if (now->outside)
        now->outside->ends = keepOrder(order(at, true), std::move(now->outside->ends));
      noteShape(at, *now, next.shape);
    }
    addChanges(at, before, now ? &*now : nullptr, next.removals, next.additions);
  }
}

void NftBackend::planClusterIps(const Model& model, const std::set<At>& frontends,
                                Next& next) const {
  for (const At& at : frontends) {
    const bool isClusterIp = model.isClusterIp(at.address);
    if (isClusterIp != (clusterIps_.count(at.address) != 0))
      next.clusterIps[at.address] = isClusterIp;
  }
  for (const auto& [address, there] : next.clusterIps)
    (there ? next.additions : next.removals).add(layout::clusterIps(address.family()), {address});
}

void NftBackend::planServices(const Model& model, const std::set<Key>& services, Next& next) const {
  static const std::vector<PortPlan> kNone;
  std::map<IpAddress, std::ptrdiff_t> hairpins;
  for (const Key& key : services) {
    const auto* plans = model.find(key);
    next.stickies[key] = stickyPorts(key, plans != nullptr ? *plans : kNone);
    next.local[key] = localAddresses(plans != nullptr ? *plans : kNone);
    for (const IpAddress& address : next.local[key])
      ++hairpins[address];
    const auto before = local_.find(key);
    if (before == local_.end()) continue;
    for (const IpAddress& address : before->second)
      --hairpins[address];
  }
  for (const auto& [address, difference] : hairpins) {
    const auto known = hairpins_.find(address);
    const auto before = static_cast<std::ptrdiff_t>(known == hairpins_.end() ? 0 : known->second);
    const nft::Element element{nft::Value::concat({address, address})};
    if (before == 0 && difference > 0)
      next.additions.add(layout::hairpins(address.family()), element);
    if (before != 0 && before + difference == 0)
      next.removals.add(layout::hairpins(address.family()), element);
  }
}

void NftBackend::planNodePorts(const Settings& settings, Next& next) const {
  next.nodePortAddresses = settings.nodePortAddresses;
  next.shape.pods = settings.pods;
  for (const IpAddress& address : nodePortAddresses_) {
    if (next.nodePortAddresses.count(address) == 0)
      next.removals.add(layout::nodeAddresses(address.family()), {address});
  }
  for (const IpAddress& address : next.nodePortAddresses) {
    if (nodePortAddresses_.count(address) == 0)
      next.additions.add(layout::nodeAddresses(address.family()), {address});
  }
}

/// What has to be there before elements refer to it; in `last`, what may go after them.
Result<Transaction> NftBackend::stickyChanges(Next& next, Transaction& last) {
  static const Stickies kNone;
  Transaction tx;
  for (const auto& [key, now] : next.stickies) {
    const auto known = stickies_.find(key);
    const Stickies& before = known == stickies_.end() ? kNone : known->second;
    for (const auto& [name, sticky] : now) {
      const auto same = before.find(name);
      if (same == before.end() || same->second.port != sticky.port)
        layout::addSticky(sticky.port, tx);
      if (same != before.end()) removeLostPlaces(same->second.port, sticky.port, last);
      TRY(changeMembers(same == before.end() ? Sticky() : same->second, sticky, next));
    }
    for (const auto& [name, sticky] : before) {
      if (now.count(name) == 0) layout::removeSticky(sticky.port, last);
    }
  }
  return tx;
}

/// Clients of an endpoint that goes choose anew.
Result<void> NftBackend::changeMembers(const Sticky& before, const Sticky& now, Next& next) {
  const nft::Set members = layout::members(now.port.family, now.port.name);
  std::set<nft::Value> gone;
  for (const End& end : before.ends) {
    if (now.ends.count(end) != 0) continue;
    next.removals.add(members, elementOf(end));
    gone.insert(elementOf(end).key);
  }
  for (const End& end : now.ends) {
    if (before.ends.count(end) == 0) next.additions.add(members, elementOf(end));
  }
  if (gone.empty()) return {};
  const nft::Set clients = layout::clients(now.port.family, now.port.name);
  for (const nft::Element& client : TRY(kernel_->listElements(clients))) {
    const auto* where = std::get_if<nft::Value>(&client.data);
    if (where != nullptr && gone.count(*where) != 0) next.removals.add(clients, {client.key});
  }
  return {};
}

Result<NftBackend::Summary> NftBackend::commit(Transaction tx, Next next, Transaction last) {
  const Summary summary{next.additions.size(), next.removals.size(), !tx.empty()};
  tx.append(std::move(next.removals).removals());
  tx.append(std::move(next.additions).additions());
  tx.append(std::move(last));
  if (!tx.empty()) TRY(kernel_->commit(tx).context("table inet culvert_services"));
  remember(std::move(next));
  return summary;
}

void NftBackend::forget() {
  frontends_.clear(), stickies_.clear(), local_.clear(), hairpins_.clear();
  clusterIps_.clear(), nodePortAddresses_.clear();
  uses_ = {};
  sizes_.clear();
}

void NftBackend::remember(Next next) {
  for (auto& [at, state] : next.frontends) {
    const auto before = frontends_.find(at);
    if (before != frontends_.end()) uses_.remove(at, before->second);
    if (state) uses_.add(at, *state);
    if (state)
      frontends_.insert_or_assign(at, *std::move(state));
    else if (before != frontends_.end())
      frontends_.erase(before);
  }
  for (auto& [key, ports] : next.stickies) {
    if (ports.empty())
      stickies_.erase(key);
    else
      stickies_[key] = std::move(ports);
  }
  for (auto& [key, addresses] : next.local) {
    for (const IpAddress& address : addresses)
      ++hairpins_[address];
    for (const IpAddress& address : local_[key]) {
      if (--hairpins_[address] == 0) hairpins_.erase(address);
    }
    local_[key] = std::move(addresses);
    if (local_[key].empty()) local_.erase(key);
  }
  for (const auto& [address, there] : next.clusterIps) {
    if (there)
      clusterIps_.insert(address);
    else
      clusterIps_.erase(address);
  }
  nodePortAddresses_ = std::move(next.nodePortAddresses);
  sizes_ = std::move(next.sizes);
  shape_ = std::move(next.shape);
}

Result<NftBackend::Summary> NftBackend::apply(const Model& model, const Model::Change& change,
                                              const Settings& settings) {
  Next next;
  const auto known = [&](const At& at, bool outside) {
    if (present_) return endsIn(*present_, at, outside);
    const auto state = frontends_.find(at);
    if (state == frontends_.end() || (outside && !state->second.outside)) return std::vector<End>();
    return outside ? state->second.outside->ends : state->second.all.ends;
  };
  planFrontends(model, change.frontends, known, next);
  planClusterIps(model, change.frontends, next);
  planServices(model, change.services, next);
  planNodePorts(settings, next);
  Transaction tx, last;
  if (present_) {
    present_->settle(next.removals, next.additions);
    for (const At& at : change.frontends)
      addStale(at, next);
  }
  next.sizes = sizes_;
  noteFilled(next);
  if (serves(shape_, next.shape)) {
    next.shape = shape_;
  } else {
    next.shape.merge(shape_);
    tx = layout::render(next.shape, digestOf(next.shape));
    tx.append(removeOthers(namesIn(layout::render(shape_, "")), namesIn(tx)));
  }
  tx.append(TRY(stickyChanges(next, last)));
  return commit(std::move(tx), std::move(next), std::move(last));
}

/// The rules, unless those of this shape are there; and those of sticky ports likewise.
Result<Transaction> NftBackend::missingRules(Next& next) {
  Transaction tx;
  const std::string digest = digestOf(next.shape);
  Transaction rules = layout::render(next.shape, digest);
  if (!TRY(hasRules(*kernel_, rules, layout::firstChain(), "rules " + digest)))
    tx = std::move(rules);
  for (const auto& [key, ports] : next.stickies) {
    for (const auto& [name, sticky] : ports) {
      Transaction own;
      layout::addSticky(sticky.port, own);
      if (!TRY(
              hasRules(*kernel_, own, layout::rememberChain(name), layout::commentOf(sticky.port))))
        tx.append(std::move(own));
    }
  }
  return tx;
}

void NftBackend::addMembers(Next& next) {
  for (const auto& [key, ports] : next.stickies) {
    for (const auto& [name, sticky] : ports) {
      for (const End& end : sticky.ends)
        next.additions.add(layout::members(sticky.port.family, name), elementOf(end));
    }
  }
}

/// Removes chains and sets that an earlier life needed, or a stranger made.
Result<Transaction> NftBackend::leftovers(const Transaction& wanted) {
  Names present;
  for (const nft::Chain& chain : TRY(kernel_->listChains(layout::table())))
    present.chains.insert(chain.name);
  for (const nft::Set& set : TRY(kernel_->listSets(layout::table())))
    present.sets.insert(set.name);
  return removeOthers(present, namesIn(wanted));
}

Result<void> NftBackend::tidy() {
  Next next;
  next.shape = exactShape();
  const std::string digest = digestOf(next.shape);
  Transaction tx = layout::render(next.shape, digest);
  const Names now = namesIn(tx);
  tx.append(removeOthers(namesIn(layout::render(shape_, "")), now));
  TRY(kernel_->commit(tx).context("table inet culvert_services"));
  shape_ = std::move(next.shape);
  return {};
}

void NftBackend::Uses::add(const At& at, const FrontendState& state) {
  forEachUse(
      at, state, [&](const Place& place, std::uint32_t count) { ++counts[place][count]; },
      [&](const auto& length) { ++sourceLengths[length]; });
}

void NftBackend::Uses::remove(const At& at, const FrontendState& state) {
  const auto drop = [](auto& uses, const auto& key) {
    if (--uses.at(key) == 0) uses.erase(key);
  };
  forEachUse(
      at, state,
      [&](const Place& place, std::uint32_t count) {
        drop(counts.at(place), count);
        if (counts.at(place).empty()) counts.erase(place);
      },
      [&](const auto& length) { drop(sourceLengths, length); });
}

void NftBackend::count(const ElementBatch& removals, const ElementBatch& additions, Sizes& sizes) {
  additions.forEachSet([&](const nft::Set& set, const std::vector<nft::Element>& some) {
    if (layout::decidingSets().count(set.name) != 0) sizes[set.name] += some.size();
  });
  removals.forEachSet([&](const nft::Set& set, const std::vector<nft::Element>& some) {
    const auto known = sizes.find(set.name);
    if (known != sizes.end() && (known->second -= some.size()) == 0) sizes.erase(known);
  });
}

/// Which sets will have elements: rules depend on it.
void NftBackend::noteFilled(Next& next) {
  count(next.removals, next.additions, next.sizes);
  for (const auto& [set, size] : next.sizes)
    next.shape.filled.insert(set);
}

Shape NftBackend::exactShape() const {
  Shape shape;
  shape.pods = shape_.pods;
  for (const auto& [set, size] : sizes_)
    shape.filled.insert(set);
  for (const auto& [place, numbers] : uses_.counts) {
    for (const auto& [number, uses] : numbers)
      shape.counts[place].insert(number);
  }
  for (const auto& [length, uses] : uses_.sourceLengths)
    shape.sourceLengths.insert(length);
  return shape;
}

/// Takes possession of the table, where the kernel can do that. One that was made without, it
/// cannot.
Result<void> NftBackend::own(bool isNew) {
  if (protected_) return {};
  Transaction tx;
  tx.own(layout::table());
  auto owned = kernel_->commit(tx);
  protected_ = owned.has_value();
  if (owned || owned.error().sysErrno == EOPNOTSUPP) return {};
  return isNew ? owned : std::move(owned).context("take over table inet culvert_services");
}

/// What the rules and elements of a new table refer to, but no chain with a hook.
Result<void> NftBackend::prepare(const Next& next) {
  Transaction tx = layout::renderSets(next.shape);
  for (const auto& [key, ports] : next.stickies) {
    for (const auto& [name, sticky] : ports)
      layout::addSticky(sticky.port, tx);
  }
  return kernel_->commit(tx).context("table inet culvert_services");
}

/// Frontends of a table that is not hooked in yet: no packet sees them, so they need not come all
/// at once, which would take ten times the memory. Returns how many elements were added.
Result<std::size_t> NftBackend::fill(const Model& model, const std::set<At>& frontends,
                                     Next& next) {
  constexpr std::size_t kAtOnce = 1000;
  for (const At& at : frontends) {
    if (const auto held = model.find(at)) noteShape(at, stateOf(*held), next.shape);
  }
  TRY(prepare(next));
  ElementBatch others = std::exchange(next.additions, {});
  const auto nothing = [](const At&, bool) { return std::vector<End>(); };
  std::size_t added = 0;
  for (auto at = frontends.begin(); at != frontends.end();) {
    std::set<At> some;
    for (; at != frontends.end() && some.size() < kAtOnce; ++at)
      some.insert(some.end(), *at);
    planFrontends(model, some, nothing, next);
    added += next.additions.size();
    count({}, next.additions, next.sizes);
    TRY(kernel_->commit(std::move(next.additions).additions())
            .context("table inet culvert_services"));
  }
  next.additions = std::move(others);
  return added;
}

/// Finds out what is there. Whether packets come through it.
Result<bool> NftBackend::look() {
  forget();
  const bool hooked = TRY(isHooked(*kernel_));
  TRY(own(!hooked));
  present_ = TRY(Present::read(*kernel_));
  for (const std::string& set : layout::decidingSets()) {
    if (const std::size_t size = present_->sizeOf(set); size != 0) sizes_[set] = size;
  }
  return hooked;
}

Result<NftBackend::Summary> NftBackend::adopt(const Model& model, const Settings& settings) {
  const bool hooked = TRY(look());
  const Model::Change everything = model.everything();
  Next next;
  planServices(model, everything.services, next);
  planNodePorts(settings, next);
  planClusterIps(model, everything.frontends, next);
  next.sizes = sizes_;
  std::size_t filled = 0;
  if (!hooked && present_->hasNoElements()) {
    filled = TRY(fill(model, everything.frontends, next));
  } else {
    const auto inKernel = [&](const At& at, bool outside) {
      return endsIn(*present_, at, outside);
    };
    planFrontends(model, everything.frontends, inKernel, next);
  }
  addMembers(next);
  present_->settle(next.removals, next.additions);
  present_->addUnwanted(next.removals);
  noteFilled(next);
  Transaction rules = TRY(missingRules(next));
  Transaction last = TRY(leftovers(wantedRules(next.shape, next.stickies)));
  Summary summary = TRY(commit(std::move(rules), std::move(next), std::move(last)));
  present_.reset();
  summary.added += filled;
  return summary;
}

Result<void> NftBackend::beginAdoption(const Model& model, const Settings& settings) {
  TRY(look());
  Shape shape;
  shape.pods = settings.pods;
  shape.filled = layout::decidingSets();
  for (const At& at : model.everything().frontends) {
    if (const auto held = model.find(at)) noteShape(at, stateOf(*held), shape);
  }
  TRY(kernel_->commit(layout::render(shape, digestOf(shape)))
          .context("rules of table inet culvert_services"));
  shape_ = std::move(shape);
  return {};
}

Result<NftBackend::Summary> NftBackend::endAdoption() {
  ElementBatch unwanted;
  present_->addUnwanted(unwanted);
  Sizes sizes = sizes_;
  count(unwanted, {}, sizes);
  const std::size_t removed = unwanted.size();
  Transaction tx = std::move(unwanted).removals();
  tx.append(TRY(leftovers(wantedRules(shape_, stickies_))));
  if (!tx.empty()) TRY(kernel_->commit(tx).context("table inet culvert_services"));
  present_.reset();
  sizes_ = std::move(sizes);
  return Summary{0, removed, false};
}

/// What an earlier life said of the frontend, and is not so any more.
void NftBackend::addStale(const At& at, Next& next) {
  for (const bool outside : {false, true}) {
    const Place place = placeOf(at, outside);
    const nft::Value key = layout::keyOf(place, at);
    for (const nft::Set* set : layout::keyedSets(place))
      present_->dismiss(*set, key, next.removals);
  }
}

}  // namespace culvert::services
