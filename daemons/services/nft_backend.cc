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

template <class Visit>
void forEachElement(const Transaction& tx, Visit visit) {
  for (const Transaction::Operation& operation : tx.operations()) {
    const auto* elements = std::get_if<Transaction::ElementsOf>(&operation.what);
    if (elements == nullptr) continue;
    for (const nft::Element& element : elements->elements)
      visit(operation.verb, elements->set, element);
  }
}

std::size_t count(const Transaction& tx) {
  std::size_t number = 0;
  forEachElement(tx, [&](auto&&...) { ++number; });
  return number;
}

std::string digestOf(const Shape& shape) {
  return sha512Hex(layout::render(shape, "").toText(), 16);
}

/// The number of endpoints decides about chains, lengths of source ranges about sets.
void noteShape(const At& at, const FrontendState& state, Shape& shape) {
  const auto add = [&](bool outside, const FrontendState::View& view) {
    if (view.sticky.empty() && (outside || !view.ends.empty()))
      shape.counts[placeOf(at, outside)].insert(static_cast<std::uint32_t>(view.ends.size()));
  };
  add(false, state.all);
  if (state.outside) add(true, *state.outside);
  for (const IpPrefix& source : state.sources)
    shape.sourceLengths.insert({source.family(), source.length()});
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

nft::Element elementOf(const End& end) {
  return {nft::Value::concat({end.address, nft::Value::port(end.port)})};
}

/// Elements of each set, as a transaction adds them, or as the kernel lists them.
struct Elements {
  nft::Set set;
  std::map<nft::Value, nft::Element> all;
};
using BySet = std::map<std::string, Elements>;

BySet bySet(const Transaction& additions) {
  BySet sets;
  forEachElement(additions, [&](auto, const nft::Set& set, const nft::Element& element) {
    Elements& elements = sets[set.name];
    elements.set = set;
    elements.all.insert_or_assign(element.key, element);
  });
  return sets;
}

bool isClients(const nft::Set& set) {
  return set.name.rfind("clients_", 0) == 0;
}

/// What is in the sets that we fill; clients of sticky ports come and go by themselves.
Result<BySet> listElements(nft::Connection& nft) {
  BySet sets;
  auto listed = nft.listSets(layout::table());
  if (!listed && listed.error().code == Errc::kNotFound) return sets;
  for (nft::Set& set : TRY(std::move(listed))) {
    if (isClients(set) || set.key.empty()) continue;
    Elements& elements = sets[set.name];
    for (nft::Element& element : TRY(nft.listElements(set)))
      elements.all.emplace(element.key, std::move(element));
    elements.set = std::move(set);
  }
  return sets;
}

/// A frontend's endpoints in the kernel, up to the first hole.
std::vector<End> endsIn(const BySet& sets, const At& at, bool outside) {
  std::vector<End> ends;
  const Place place = placeOf(at, outside);
  const auto known = sets.find(layout::endpoints(place).name);
  if (known == sets.end()) return ends;
  const Elements& elements = known->second;
  for (std::uint32_t index = 0;; ++index) {
    const auto element = elements.all.find(layout::endpointKey(place, at, index));
    if (element == elements.all.end()) return ends;
    const auto fields = std::get<nft::Value>(element->second.data).split(elements.set.data);
    ends.push_back({fields.at(0).address(place.family), fields.at(1).port()});
  }
}

const nft::Element* find(const BySet& sets, const std::string& set, const nft::Value& key) {
  const auto elements = sets.find(set);
  if (elements == sets.end()) return nullptr;
  const auto element = elements->second.all.find(key);
  return element == elements->second.all.end() ? nullptr : &element->second;
}

/// Elements in `these` that `those` has not, or has with other data.
template <class Visit>
void forEachMissing(const BySet& these, const BySet& those, Visit visit) {
  for (const auto& [name, elements] : these) {
    for (const auto& [key, element] : elements.all) {
      const nft::Element* there = find(those, name, key);
      if (there == nullptr || there->data != element.data) visit(elements.set, element);
    }
  }
}

/// Whether the chain begins with a rule of this comment.
Result<bool> hasRules(nft::Connection& nft, const nft::Chain& chain, const std::string& comment) {
  auto rules = nft.listRules(chain);
  if (!rules && rules.error().code == Errc::kNotFound) return false;
  const auto all = TRY(std::move(rules));
  return !all.empty() && all.front().comment == comment;
}

/// Sticky ports of an earlier life that nobody wants any more.
Result<Transaction> staleSticky(nft::Connection& nft, const std::map<Key, Stickies>& wanted) {
  Transaction tx;
  auto listed = nft.listSets(layout::table());
  if (!listed && listed.error().code == Errc::kNotFound) return tx;
  std::set<std::string> names;
  for (const auto& [key, ports] : wanted) {
    for (const auto& [name, sticky] : ports)
      names.insert(name);
  }
  for (const nft::Set& set : TRY(std::move(listed))) {
    const std::string name = isClients(set) ? set.name.substr(set.name.find('_') + 1) : "";
    if (name.empty() || names.count(name) != 0) continue;
    StickyPort port{
        name, set.key.front() == nft::DataType::kIpv4Addr ? Family::kV4 : Family::kV6, {}, {}};
    std::vector<nft::Chain> chains;
    for (const Place& place : layout::allPlaces())
      chains.push_back(layout::stickyChain(place, name));
    const auto there = TRY(nft.findChains(chains));
    for (std::size_t i = 0; i < chains.size(); ++i) {
      if (there[i]) port.places[layout::allPlaces()[i]] = 0;
    }
    layout::removeSticky(port, tx);
  }
  return tx;
}

}  // namespace

void NftBackend::planFrontends(const Model& model, const Model::Change& change, const Order& order,
                               Next& next) const {
  for (const At& at : change.frontends) {
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
    const bool isClusterIp = model.isClusterIp(at.address);
    if (isClusterIp != (clusterIps_.count(at.address) != 0))
      next.clusterIps[at.address] = isClusterIp;
  }
  for (const auto& [address, there] : next.clusterIps) {
    if (there)
      next.additions.add(layout::clusterIps(address.family()), {address});
    else
      next.removals.remove(layout::clusterIps(address.family()), {address});
  }
}

void NftBackend::planServices(const Model& model, const Model::Change& change, Next& next) const {
  static const std::vector<PortPlan> kNone;
  std::map<IpAddress, std::ptrdiff_t> hairpins;
  for (const Key& key : change.services) {
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
      next.removals.remove(layout::hairpins(address.family()), element);
  }
}

void NftBackend::planNodePorts(const Settings& settings, Next& next) const {
  next.nodePortAddresses = settings.nodePortAddresses;
  next.shape.pods = settings.pods;
  for (const IpAddress& address : nodePortAddresses_) {
    if (next.nodePortAddresses.count(address) == 0)
      next.removals.remove(layout::nodeAddresses(address.family()), {address});
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
    next.removals.remove(members, elementOf(end));
    gone.insert(elementOf(end).key);
  }
  for (const End& end : now.ends) {
    if (before.ends.count(end) == 0) next.additions.add(members, elementOf(end));
  }
  if (gone.empty()) return {};
  const nft::Set clients = layout::clients(now.port.family, now.port.name);
  for (const nft::Element& client : TRY(nft_.listElements(clients))) {
    const auto* where = std::get_if<nft::Value>(&client.data);
    if (where != nullptr && gone.count(*where) != 0) next.removals.remove(clients, {client.key});
  }
  return {};
}

Result<NftBackend::Summary> NftBackend::commit(Transaction tx, Next next, Transaction last) {
  const Summary summary{count(next.additions), count(next.removals), !tx.empty()};
  tx.append(std::move(next.removals));
  tx.append(std::move(next.additions));
  tx.append(std::move(last));
  if (!tx.empty()) TRY(nft_.commit(tx).context("table inet culvert_services"));
  remember(std::move(next));
  return summary;
}

void NftBackend::remember(Next next) {
  for (auto& [at, state] : next.frontends) {
    if (state)
      frontends_.insert_or_assign(at, *std::move(state));
    else
      frontends_.erase(at);
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
  shape_ = std::move(next.shape);
}

Result<NftBackend::Summary> NftBackend::apply(const Model& model, const Model::Change& change,
                                              const Settings& settings) {
  Next next;
  next.shape = shape_;
  const auto known = [&](const At& at, bool outside) {
    const auto state = frontends_.find(at);
    if (state == frontends_.end() || (outside && !state->second.outside)) return std::vector<End>();
    return outside ? state->second.outside->ends : state->second.all.ends;
  };
  planFrontends(model, change, known, next);
  planServices(model, change, next);
  planNodePorts(settings, next);
  Transaction tx, last;
  if (next.shape != shape_) tx = layout::render(next.shape, digestOf(next.shape));
  tx.append(TRY(stickyChanges(next, last)));
  return commit(std::move(tx), std::move(next), std::move(last));
}

/// The rules, unless those of this shape are there; and those of sticky ports likewise.
Result<Transaction> NftBackend::missingRules(Next& next) {
  Transaction tx;
  const std::string digest = digestOf(next.shape);
  if (!TRY(hasRules(nft_, layout::firstChain(), "rules " + digest)))
    tx = layout::render(next.shape, digest);
  for (const auto& [key, ports] : next.stickies) {
    for (const auto& [name, sticky] : ports) {
      if (!TRY(hasRules(nft_, layout::rememberChain(name), layout::commentOf(sticky.port))))
        layout::addSticky(sticky.port, tx);
      for (const End& end : sticky.ends)
        next.additions.add(layout::members(sticky.port.family, name), elementOf(end));
    }
  }
  return tx;
}

Result<NftBackend::Summary> NftBackend::adopt(const Model& model, const Settings& settings) {
  frontends_.clear(), stickies_.clear(), local_.clear(), hairpins_.clear();
  clusterIps_.clear(), nodePortAddresses_.clear();
  const BySet present = TRY(listElements(nft_));
  Next next;
  const Model::Change everything = model.everything();
  const auto inKernel = [&](const At& at, bool outside) { return endsIn(present, at, outside); };
  planFrontends(model, everything, inKernel, next);
  planServices(model, everything, next);
  planNodePorts(settings, next);
  Transaction rules = TRY(missingRules(next));
  const BySet wanted = bySet(next.additions);
  next.removals = next.additions = {};
  forEachMissing(present, wanted, [&](const nft::Set& set, const nft::Element& element) {
    next.removals.remove(set, element);
  });
  forEachMissing(wanted, present, [&](const nft::Set& set, const nft::Element& element) {
    next.additions.add(set, element);
  });
  Transaction leftovers = TRY(staleSticky(nft_, next.stickies));
  return commit(std::move(rules), std::move(next), std::move(leftovers));
}

}  // namespace culvert::services
