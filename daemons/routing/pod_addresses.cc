#include "daemons/routing/pod_addresses.h"

#include <algorithm>
#include <list>
#include <nlohmann/json.hpp>
#include <optional>

#include "daemons/frame/timing.h"
#include "daemons/objects/selector.h"
#include "daemons/routing/blocks.h"
#include "daemons/routing/reservations.h"

namespace culvert::routing {
namespace {

using frame::SteadyTime;
using nlohmann::json;
using objects::IpPool;
using objects::PodWishes;

constexpr Family kFamilies[] = {Family::kV4, Family::kV6};
constexpr std::chrono::milliseconds kPatience{10'000};  // for a block

/// Of one family; nothing yet: a block is being taken.
using Networks = std::optional<std::vector<IpPrefix>>;

/// Whether this node's pods may have addresses of the pool at all.
Result<void> mayUse(const Model& model, const IpPool& pool) {
  const auto selector = objects::Selector::parse(pool.nodeSelector);
  if (pool.disabled || !selector || !selector->matches(model.self()->meta.labels))
    return makeError(Errc::kInvalidConfig,
                     "pool " + pool.meta.name + " is disabled, or not meant for this node");
  return {};
}

Result<IpPool> findPool(const Model& model, const std::string& text) {
  for (const IpPool& pool : model.pools()) {
    if (pool.meta.name == text || pool.cidr.text() == text) return pool;
  }
  return makeError(Errc::kInvalidConfig, "there is no pool " + text);
}

Result<Networks> networksFor(const Model& model, BlockKeeper& keeper, const IpAddress& address) {
  for (const IpPrefix& network : model.ownNetworks()) {
    if (network.contains(address)) return Networks({network});
  }
  const auto pool = poolOf(model.pools(), address);
  if (!pool)
    return makeError(Errc::kInvalidConfig,
                     address.text() + " is in no pool, and in no network of this node");
  TRY(mayUse(model, *pool));
  TRY(keeper.demand(model, *pool, address));
  return Networks();
}

/// Those of our networks that are in the pools, if an address is free there.
Result<Networks> networksFor(const Model& model, BlockKeeper& keeper,
                             const std::vector<IpPool>& pools, const std::set<IpAddress>& given) {
  std::vector<IpPrefix> found;
  bool free = false;
  for (const IpPrefix& network : model.ownNetworks()) {
    if (std::none_of(pools.begin(), pools.end(),
                     [&](const IpPool& pool) { return pool.cidr.contains(network.address()); }))
      continue;
    found.push_back(network);
    free = free || countIn(given, network) < capacityOf(network);
  }
  if (free) return Networks(found);
  Result<void> last;
  for (const IpPool& pool : pools) {
    last = mayUse(model, pool);
    if (last) last = keeper.demand(model, pool, std::nullopt);
    if (last) return Networks();
  }
  return last.error();
}

Networks offeredNetworks(const Model& model, const BlockKeeper& keeper, Family family) {
  std::vector<IpPrefix> found;
  for (const IpPrefix& network : model.ownNetworks()) {
    if (network.family() == family && keeper.isOffered(model, network)) found.push_back(network);
  }
  return found;
}

Result<Networks> networksOf(const Model& model, BlockKeeper& keeper, const PodWishes& wishes,
                            Family family, const std::set<IpAddress>& given) {
  for (const IpAddress& address : wishes.addresses) {
    if (address.family() == family) return networksFor(model, keeper, address);
  }
  std::vector<IpPool> pools;
  for (const std::string& text : wishes.pools) {
    const IpPool pool = TRY(findPool(model, text));
    if (pool.cidr.family() == family) pools.push_back(pool);
  }
  if (!pools.empty()) return networksFor(model, keeper, pools, given);
  return offeredNetworks(model, keeper, family);
}

/// Null: not yet.
Result<json> answerTo(const Model& model, BlockKeeper& keeper, const PodWishes& wishes,
                      const std::set<IpAddress>& given) {
  json answer = {{"ranges", json::array()}, {"ips", json::array()}};
  bool whole = true;
  for (const Family family : kFamilies) {
    const Networks networks = TRY(networksOf(model, keeper, wishes, family, given));
    whole = whole && networks;
    json set = json::array();
    for (const IpPrefix& network : networks.value_or(std::vector<IpPrefix>()))
      set.push_back({{"subnet", network.text()}});
    if (!set.empty()) answer["ranges"].push_back(std::move(set));
  }
  if (!whole) return json();
  for (const IpAddress& address : wishes.addresses)
    answer["ips"].push_back(address.text());
  return answer;
}

}  // namespace

class PodAddresses::Impl {
 public:
  Impl(boost::asio::io_context& loop, sources::Source& source, BlockKeeper& keeper,
       std::function<void()> again)
      : source_(source),
        keeper_(keeper),
        again_(std::move(again)),
        alarm_(frame::makeAlarm(loop)) {}

  void ask(const objects::Key& pod, Done done);
  void update(const Model& model, const std::set<IpAddress>& given);
  void stop();

 private:
  struct Question {
    PodWishes wishes;
    SteadyTime until;
    Done done;
  };
  void heard(const Result<json>& pod, const Done& done);

  sources::Source& source_;
  BlockKeeper& keeper_;
  std::function<void()> again_;
  std::unique_ptr<frame::Alarm> alarm_;
  std::list<Question> questions_;
  bool stopped_ = false;
};

void PodAddresses::Impl::ask(const objects::Key& pod, Done done) {
  if (stopped_) return done(makeError(Errc::kTryAgain, "culvertd is stopping"));
  source_.get(objects::kPod, pod,
              [this, done = std::move(done)](const Result<json>& found) { heard(found, done); });
}

void PodAddresses::Impl::heard(const Result<json>& pod, const Done& done) {
  if (!pod && pod.error().code != Errc::kNotFound)
    return done(
        makeError(Errc::kTryAgain, "what the pod wants is not known: " + pod.error().message));
  Result<PodWishes> wishes = pod ? PodWishes::parse(*pod) : PodWishes();
  if (!wishes) return done(wishes.error());
  questions_.push_back({*std::move(wishes), alarm_->now() + kPatience, done});
  again_();
}

void PodAddresses::Impl::update(const Model& model, const std::set<IpAddress>& given) {
  if (questions_.empty() || model.self() == nullptr) return;
  for (auto question = questions_.begin(); question != questions_.end();) {
    Result<json> answer = answerTo(model, keeper_, question->wishes, given);
    if (answer && answer->is_null() && alarm_->now() >= question->until)
      answer = makeError(Errc::kTryAgain, "no block for the pod's address yet");
    if (answer && answer->is_null()) {
      ++question;
      continue;
    }
    const Done done = std::move(question->done);
    question = questions_.erase(question);
    done(std::move(answer));
  }
  if (questions_.empty()) return alarm_->cancel();
  alarm_->set(questions_.front().until, again_);
}

void PodAddresses::Impl::stop() {
  stopped_ = true;
  alarm_->cancel();
  for (const Question& question : std::exchange(questions_, {}))
    question.done(makeError(Errc::kTryAgain, "culvertd is stopping"));
}

PodAddresses::PodAddresses(boost::asio::io_context& loop, sources::Source& source,
                           BlockKeeper& keeper, std::function<void()> again)
    : impl_(std::make_unique<Impl>(loop, source, keeper, std::move(again))) {}
PodAddresses::~PodAddresses() = default;
void PodAddresses::ask(const objects::Key& pod, Done done) {
  impl_->ask(pod, std::move(done));
}
void PodAddresses::update(const Model& model, const std::set<IpAddress>& given) {
  impl_->update(model, given);
}
void PodAddresses::stop() {
  impl_->stop();
}

}  // namespace culvert::routing
