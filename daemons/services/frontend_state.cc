#include "daemons/services/frontend_state.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/digest.h"

namespace culvert::services {
namespace {

using layout::Place;
using Masquerade = FrontendState::Masquerade;
using View = FrontendState::View;

View viewOf(const Model::Held& held, Target target) {
  const PortPlan& port = *held.port;
  View view;
  const std::vector<Backend>* backends = nullptr;
  if (target == Target::kCluster) backends = &port.cluster;
  if (target == Target::kLocal) backends = &port.local;
  view.rejected = target == Target::kReject;
  view.dropped = target == Target::kDrop;
  if (backends == nullptr) return view;
  view.ends.reserve(backends->size());
  for (const Backend& backend : *backends)
    view.ends.push_back({backend.address, backend.port});
  if (port.affinity.count() != 0) view.sticky = stickyName(held.service, port, target);
  return view;
}

Masquerade masqueradeOf(const Treatments& by) {
  const bool pods = by.of(Origin::kPod).masquerade, host = by.of(Origin::kHost).masquerade,
             outside = by.of(Origin::kOutside).masquerade;
  if (pods) return Masquerade::kAlways;
  if (host) return outside ? Masquerade::kNotPods : Masquerade::kHostOnly;
  return Masquerade::kNever;
}

Place placeOf(const At& at, bool outside) {
  return {at.address.family(), at.address.isUnspecified(), outside};
}

nft::Value dataOf(const End& end) {
  return nft::Value::concat({end.address, nft::Value::port(end.port)});
}

/// An element and its set, one of layout's, which live for ever.
struct Member {
  const nft::Set* set;
  nft::Element element;
  auto place() const { return std::tie(set->name, element.key); }
};

/// All elements of a frontend but its endpoints, in the order of sets and keys.
class Members {
 public:
  static std::vector<Member> of(const At& at, const FrontendState* state) {
    Members all(at);
    if (state != nullptr) all.addAll(*state);
    std::sort(all.list_.begin(), all.list_.end(),
              [](const Member& a, const Member& b) { return a.place() < b.place(); });
    const auto twice =  // a source range that is written twice
        std::unique(all.list_.begin(), all.list_.end(),
                    [](const Member& a, const Member& b) { return a.place() == b.place(); });
    all.list_.erase(twice, all.list_.end());
    return std::move(all.list_);
  }

 private:
  explicit Members(const At& at) : at_(at) {}

  void add(const nft::Set& set, nft::Element element) {
    list_.push_back({&set, std::move(element)});
  }

  void addView(const View& view, bool outside) {
    const Place place = placeOf(at_, outside);
    const nft::Value key = layout::keyOf(place, at_);
    if (view.rejected) add(layout::rejected(place), {key});
    if (view.dropped) add(layout::dropped(place), {key});
    if (!view.sticky.empty() && !view.ends.empty()) {
      add(layout::sticky(place), {key, nft::goTo(layout::stickyChain(place, view.sticky).name)});
      add(layout::remembered(place), {key, nft::jumpTo(layout::rememberChain(view.sticky).name)});
      return;
    }
    if (view.ends.empty() && !outside) return;
    add(layout::frontends(place), {key});
    const auto count = static_cast<std::uint32_t>(view.ends.size());
    for (unsigned bit = 0; count >> bit != 0; ++bit) {
      if ((count >> bit & 1) != 0) add(layout::countBit(place, bit), {key});
    }
  }

  void addAll(const FrontendState& state) {
    addView(state.all, false);
    if (state.outside) addView(*state.outside, true);
    const Place place = placeOf(at_, false);
    const nft::Value key = layout::keyOf(place, at_);
    if (state.masquerade == Masquerade::kAlways) add(layout::masqueraded(place), {key});
    if (state.masquerade == Masquerade::kHostOnly) add(layout::masqueradedForHost(place), {key});
    if (!state.guarded) return;
    add(layout::guarded(place.family), {key});
    for (const IpPrefix& source : state.sources)
      add(layout::sources(place.family, source.length()),
          {layout::sourceKey(at_, source.network().address())});
  }

  const At& at_;
  std::vector<Member> list_;
};

void addEndChanges(const At& at, bool outside, const std::vector<End>& before,
                   const std::vector<End>& now, ElementBatch& removals, ElementBatch& additions) {
  const Place place = placeOf(at, outside);
  const nft::Set& set = layout::endpoints(place);
  for (std::size_t i = 0; i < std::max(before.size(), now.size()); ++i) {
    if (i < before.size() && i < now.size() && before[i] == now[i]) continue;
    const nft::Value key = layout::endpointKey(place, at, static_cast<std::uint32_t>(i));
    if (i < before.size()) removals.add(set, {key, dataOf(before[i])});
    if (i < now.size()) additions.add(set, {key, dataOf(now[i])});
  }
}

const std::vector<End>& endsOf(const FrontendState* state, bool outside) {
  static const std::vector<End> kNone;
  if (state == nullptr || (outside && !state->outside)) return kNone;
  return outside ? state->outside->ends : state->all.ends;
}

}  // namespace

std::string stickyName(const Key& service, const PortPlan& port, Target target) {
  return sha512Hex(
      service.text() + "/" + port.name + "/" + std::string(objects::textOf(port.protocol)) +
          (port.family == Family::kV4 ? "/4" : "/6") + (target == Target::kLocal ? "/local" : ""),
      16);
}

FrontendState stateOf(const Model::Held& held) {
  const Treatments& by = held.frontend->by;
  FrontendState state;
  state.all = viewOf(held, by.of(Origin::kHost).target);
  if (by.of(Origin::kOutside).target != by.of(Origin::kHost).target)
    state.outside = viewOf(held, by.of(Origin::kOutside).target);
  state.masquerade = masqueradeOf(by);
  if (held.frontend->kind == Frontend::Kind::kLoadBalancer) {
    state.sources = held.port->sources;
    state.guarded = !state.sources.empty();
  }
  return state;
}

std::vector<End> keepOrder(const std::vector<End>& before, std::vector<End> wanted) {
  const std::set<End> all(wanted.begin(), wanted.end());
  std::vector<End> order(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                              before.size(), wanted.size())));
  std::set<End> kept;
  for (const End& end : order) {
    if (all.count(end) != 0) kept.insert(end);
  }
  auto next = wanted.begin();
  const auto another = [&] {
    while (kept.count(*next) != 0)
      ++next;
    return *next++;
  };
  for (End& end : order) {
    if (all.count(end) == 0) end = another();
  }
  while (order.size() < wanted.size())
    order.push_back(another());
  return order;
}

void addChanges(const At& at, const FrontendState* before, const FrontendState* now,
                ElementBatch& removals, ElementBatch& additions) {
  for (const bool outside : {false, true})
    addEndChanges(at, outside, endsOf(before, outside), endsOf(now, outside), removals, additions);
  auto from = Members::of(at, before), to = Members::of(at, now);
  auto old = from.begin(), fresh = to.begin();
  while (old != from.end() || fresh != to.end()) {
    const bool onlyOld = fresh == to.end() || (old != from.end() && old->place() < fresh->place());
    const bool onlyFresh =
        old == from.end() || (fresh != to.end() && fresh->place() < old->place());
    const bool same = !onlyOld && !onlyFresh && old->element == fresh->element;
    if (!onlyFresh && !same) removals.add(*old->set, std::move(old->element));
    if (!onlyOld && !same) additions.add(*fresh->set, std::move(fresh->element));
    if (!onlyFresh) ++old;
    if (!onlyOld) ++fresh;
  }
}

}  // namespace culvert::services
