#include "daemons/routing/leavers.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "daemons/frame/timing.h"
#include "daemons/sources/etcd.h"
#include "daemons/sources/store.h"

namespace culvert::routing {
namespace {

using frame::SteadyTime;
using nlohmann::json;
using objects::kAddressBlock;
using objects::Key;
using objects::kNode;
using sources::EtcdSource;
using std::chrono::milliseconds;

constexpr const char* kLeaseNamespace = "kube-node-lease";  // where kubelets have theirs
constexpr milliseconds kTurn{10'000};                       // until the next node in order may
constexpr std::size_t kTurnsMax = 60;
constexpr milliseconds kAgain{30'000};

/// All that matters of a Lease is that it is there.
struct HeldLease {
  bool operator==(const HeldLease&) const = default;
  static Result<HeldLease> parse(const json&) { return HeldLease{}; }
};

}  // namespace

class Leavers::Impl {
 public:
  Impl(boost::asio::io_context& loop, sources::Source& source, frame::Log log, Options options,
       std::function<void()> again)
      : source_(source),
        etcd_(options.leaseTime.count() > 0 ? dynamic_cast<EtcdSource*>(&source) : nullptr),
        log_(std::move(log)),
        options_(std::move(options)),
        again_(std::move(again)),
        alarm_(frame::makeAlarm(loop)),
        leases_([this](const Key&, const HeldLease*, const HeldLease*) { again_(); },
                [this] { again_(); }) {}

  void start();
  void stop();
  void update(const Model& model);
  bool holdsLease() const { return etcd_ != nullptr; }
  std::vector<Problem> problems() const;

 private:
  struct Left {
    SteadyTime since;
    std::string node;
    bool operator==(const Left&) const = default;
  };
  using Things = std::map<std::string, Left>;  // by name of the object

  bool isAway(const objects::Node& node) const;
  void note(const std::string& name, const std::string& node, const Things& before, Things& now);
  void arm(const Model& model);
  milliseconds delay(const Model& model) const;
  void ring();
  std::optional<SteadyTime> liveSince() const;
  std::vector<std::string> due(const Things& things, SteadyTime now) const;
  void remove(const objects::Kind& kind, const std::string& name, const std::string& node);
  bool isStillGone(const objects::Kind& kind, const std::string& name) const;

  sources::Source& source_;
  EtcdSource* etcd_;  // null: nodes hold no leases
  frame::Log log_;
  Options options_;
  std::function<void()> again_;
  std::unique_ptr<frame::Alarm> alarm_;
  sources::Store<HeldLease> leases_;
  std::unique_ptr<EtcdSource::Lease> own_;
  Things blocks_, nodes_;
  milliseconds delay_{0};
  bool stopped_ = false;
};

void Leavers::Impl::start() {
  if (etcd_ == nullptr) return;
  own_ = etcd_->lease({kLeaseNamespace, options_.node}, options_.node, options_.leaseTime);
  source_.watch({sources::kLease, kLeaseNamespace, "", ""}, leases_);
}

void Leavers::Impl::stop() {
  stopped_ = true;
  alarm_->cancel();
  own_.reset();
}

/// Only of nodes that hold leases when they are there.
bool Leavers::Impl::isAway(const objects::Node& node) const {
  return etcd_ != nullptr && leases_.complete() && node.registered &&
         node.meta.name != options_.node &&
         leases_.find({kLeaseNamespace, node.meta.name}) == nullptr;
}

void Leavers::Impl::update(const Model& model) {
  if (stopped_) return;
  Things nodes, blocks;
  for (const auto& [name, node] : model.nodes()) {
    if (isAway(*node)) note(name, name, nodes_, nodes);
  }
  for (const auto& [name, block] : model.blocks()) {
    const objects::Node* node = model.find(block->node);
    const bool isRemade = node != nullptr && !block->nodeUid.empty() && !node->meta.uid.empty() &&
                          block->nodeUid != node->meta.uid;
    if (node == nullptr || isRemade || nodes.contains(block->node))
      note(name, block->node, blocks_, blocks);
  }
  nodes_ = std::move(nodes);
  blocks_ = std::move(blocks);
  arm(model);
}

void Leavers::Impl::note(const std::string& name, const std::string& node, const Things& before,
                         Things& now) {
  const auto found = before.find(name);
  now[name] = found == before.end() ? Left{alarm_->now(), node} : found->second;
}

void Leavers::Impl::arm(const Model& model) {
  std::optional<SteadyTime> first;
  for (const Things* things : {&nodes_, &blocks_}) {
    for (const auto& [name, left] : *things)
      first = std::min(first.value_or(left.since), left.since);
  }
  if (!first) return alarm_->cancel();
  delay_ = delay(model);
  const SteadyTime when = std::max(*first + options_.grace + delay_, alarm_->now());
  alarm_->set(when, [this] { ring(); });
}

/// The nodes before this one, in order of names, that may do it as well.
milliseconds Leavers::Impl::delay(const Model& model) const {
  std::size_t before = 0;
  for (const auto& [name, node] : model.nodes()) {
    if (name >= options_.node || before == kTurnsMax) break;
    const bool counts = etcd_ == nullptr || leases_.find({kLeaseNamespace, name}) != nullptr;
    before += counts ? 1 : 0;
  }
  return kTurn * before;
}

/// Since when the source is within reach; nothing if it is not.
std::optional<SteadyTime> Leavers::Impl::liveSince() const {
  const sources::Status status = source_.status();
  if (status.state != sources::Status::State::kLive) return std::nullopt;
  const auto ago = std::chrono::system_clock::now() - status.since;
  return alarm_->now() - std::chrono::duration_cast<SteadyTime::duration>(ago);
}

void Leavers::Impl::ring() {
  if (stopped_) return;
  const SteadyTime now = alarm_->now();
  const auto live = liveSince();
  for (Things* things : {&nodes_, &blocks_}) {
    for (auto& [name, left] : *things)
      left.since = std::max(left.since, live.value_or(now));
  }
  for (const std::string& block : due(blocks_, now))
    remove(kAddressBlock, block, blocks_.at(block).node);
  for (const std::string& node : due(nodes_, now))
    remove(kNode, node, node);
  alarm_->set(now + std::min(kAgain, std::max(options_.grace, milliseconds(200))),
              [this] { ring(); });
}

std::vector<std::string> Leavers::Impl::due(const Things& things, SteadyTime now) const {
  std::vector<std::string> names;
  for (const auto& [name, left] : things) {
    if (now >= left.since + options_.grace + delay_) names.push_back(name);
  }
  return names;
}

bool Leavers::Impl::isStillGone(const objects::Kind& kind, const std::string& name) const {
  return !stopped_ && (kind == kNode ? nodes_ : blocks_).contains(name);
}

/// Looks once more, and removes that very version: a node that came back meanwhile keeps it.
void Leavers::Impl::remove(const objects::Kind& kind, const std::string& name,
                           const std::string& node) {
  const Key key{"", name};
  const auto removed = [this, kind, name](const Result<void>& done) {
    if (done && !stopped_)
      log_.info("removed what a node that is gone has left", {{"kind", kind.name}, {"name", name}});
  };
  source_.get(kind, key, [=, this](const Result<json>& found) {
    if (!found || !isStillGone(kind, name)) return;
    const std::string version = (*found)["metadata"].value("resourceVersion", "");
    if (etcd_ == nullptr) return source_.remove(kind, key, version, removed);
    etcd_->removeUnheld(kind, key, version, {kLeaseNamespace, node}, removed);
  });
}

std::vector<Problem> Leavers::Impl::problems() const {
  std::vector<Problem> result;
  for (const auto& [name, left] : nodes_)
    result.push_back({"node " + name + " has let its lease expire",
                      "start its culvertd; else the node and its blocks are removed in the end"});
  return result;
}

Leavers::Leavers(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
                 Options options, std::function<void()> again)
    : impl_(std::make_unique<Impl>(loop, source, std::move(log), std::move(options),
                                   std::move(again))) {}
Leavers::~Leavers() = default;
void Leavers::start() {
  impl_->start();
}
void Leavers::stop() {
  impl_->stop();
}
void Leavers::update(const Model& model) {
  impl_->update(model);
}
bool Leavers::holdsLease() const {
  return impl_->holdsLease();
}
std::vector<Problem> Leavers::problems() const {
  return impl_->problems();
}

}  // namespace culvert::routing
