#include "daemons/routing/engine.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "daemons/frame/table_watch.h"
#include "daemons/frame/timing.h"
#include "daemons/routing/block_keeper.h"
#include "daemons/routing/fabric.h"
#include "daemons/routing/leavers.h"
#include "daemons/routing/malformed.h"
#include "daemons/routing/pod_addresses.h"
#include "daemons/routing/programmer.h"
#include "daemons/routing/publish.h"
#include "daemons/routing/state_file.h"
#include "daemons/sources/store.h"
#include "netlink/monitor.h"

namespace culvert::routing {
namespace {

namespace asio = boost::asio;
using frame::Level;
using nlohmann::json;
using objects::AddressBlock;
using objects::IpPool;
using objects::Key;
using objects::Node;
using std::chrono::milliseconds;

/// Events that belong together come together: a peer's node and its blocks, the thousand routes of
/// a link that went down. The wait is far below what one node's change may take.
constexpr frame::Debouncer::Limits kPassLimits{milliseconds(2), milliseconds(0), milliseconds(50)};
constexpr frame::Debouncer::Limits kSaveLimits{milliseconds(1000), milliseconds(1000),
                                               milliseconds(5000)};

std::vector<Problem> merged(std::vector<Problem> one, std::vector<Problem> other) {
  one.insert(one.end(), std::make_move_iterator(other.begin()),
             std::make_move_iterator(other.end()));
  return one;
}

json texts(const std::vector<IpPrefix>& networks) {
  json list = json::array();
  for (const IpPrefix& network : networks)
    list.push_back(network.text());
  return list;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(asio::io_context& loop, sources::Source& source, frame::Log log, frame::Metrics& metrics,
       Options options);

  Result<void> start();
  void stop();
  Result<void> readiness() const;
  LocalNetwork local() const;
  json facts() const;
  std::string summary() const;
  std::vector<Problem> problems() const;
  std::vector<Problem> pathProblems() const;
  json routes(const std::string& peer) const;
  AddressView addresses() const;
  void podAddresses(const Key& pod, std::function<void(Result<json>)> done);
  std::string underlayText(Family family) const;
  std::string pathsText() const;
  void bgpPeers(std::function<void(Result<json>)> done) const;

  std::function<void(const LocalNetwork&)> onLocalChange;

 private:
  template <class T>
  using Setter = void (Model::*)(const std::string&, const T*);
  template <class T>
  void hear(const Key& key, const T* now, std::map<std::string, T>& known, Setter<T> set);
  void loadKnown();
  template <class T>
  void forget(std::map<std::string, T>& known, Setter<T> set);
  void completed();
  bool isComplete() const { return nodes_.complete() && pools_.complete() && blocks_.complete(); }
  void watch();

  void waitForKernel();
  void hearKernel();
  void noteEvent(const netlink::Event& event);
  bool concerns(const netlink::Event& event);

  void pass();
  void keepAddresses();
  Result<Programmer::Outcome> program(const Model::Dirty& dirty);
  void conclude(const Result<Programmer::Outcome>& outcome);
  void watchTable();
  void lookAtAll();
  void retryLater();
  bool hearsOwnKey() const;
  void waitForNextLook();
  void announceLocal();
  void publish();
  void addWireguard(const Node& self, json& annotations) const;
  void registerNode();
  void save();

  asio::io_context& loop_;
  sources::Source& source_;
  frame::Log log_;
  Options options_;
  Model model_;
  KnownState known_;  // from disk; empty once the source has told everything
  bool hasKnown_ = false;
  sources::Store<Node> nodes_;
  sources::Store<IpPool> pools_;
  sources::Store<AddressBlock> blocks_;

  std::optional<Reservations> reservations_;  // if this daemon's roles give addresses to pods
  BlockKeeper blockKeeper_;
  Leavers leavers_;
  PodAddresses pods_;
  std::optional<Fabric> fabric_;  // if BGP is on
  std::unique_ptr<Programmer> programmer_;
  std::optional<netlink::Monitor> monitor_;
  std::optional<asio::posix::stream_descriptor> kernelEvents_;
  std::unique_ptr<frame::TableWatch> tableWatch_;
  frame::Debouncer passes_, saves_;
  frame::Backoff backoff_{{milliseconds(200), milliseconds(30'000)}};
  std::unique_ptr<frame::Alarm> retry_, nextLook_;
  bool all_ = true;    // the next pass looks at everything
  bool heard_ = true;  // of nodes, blocks or leases, since leavers_ was told
  bool programmed_ = false;
  bool stopped_ = false;
  bool missingAtStart_ = false;  // this node's Node
  bool registering_ = false;
  std::vector<Error> failures_;
  LocalNetwork announced_;
  std::string published_;  // what this node's endpoints were last patched to

  prometheus::Counter& changes_;
  prometheus::Counter& failureCount_;
  prometheus::Counter& fullPasses_;
  prometheus::Histogram& duration_;
  prometheus::Gauge& peers_;
};

Engine::Impl::Impl(asio::io_context& loop, sources::Source& source, frame::Log log,
                   frame::Metrics& metrics, Options options)
    : loop_(loop),
      source_(source),
      log_(std::move(log)),
      options_(std::move(options)),
      model_(options_.node),
      nodes_([this](const Key& key, const Node*,
                    const Node* now) { hear(key, now, known_.nodes, &Model::setNode); },
             [this] { completed(); }, logMalformed(log_, "Node")),
      pools_([this](const Key& key, const IpPool*,
                    const IpPool* now) { hear(key, now, known_.pools, &Model::setPool); },
             [this] { completed(); }, logMalformed(log_, "IPPool")),
      blocks_([this](const Key& key, const AddressBlock*,
                     const AddressBlock* now) { hear(key, now, known_.blocks, &Model::setBlock); },
              [this] { completed(); }, logMalformed(log_, "AddressBlock")),
      blockKeeper_(loop, source, log_, {options_.node, options_.settings.emptyBlockGrace},
                   [this] { passes_.trigger(); }),
      leavers_(loop, source, log_,
               {options_.node, options_.settings.blockGrace,
                options_.registers ? options_.settings.leaseTime : std::chrono::seconds(0)},
               [this] {
                 heard_ = true;
                 passes_.trigger();
               }),
      pods_(loop, source, blockKeeper_, [this] { passes_.trigger(); }),
      passes_(frame::makeAlarm(loop), kPassLimits, [this] { pass(); }),
      saves_(frame::makeAlarm(loop), kSaveLimits, [this] { save(); }),
      retry_(frame::makeAlarm(loop)),
      nextLook_(frame::makeAlarm(loop)),
      changes_(metrics.counter("culvert_routing_kernel_changes_total",
                               "Routes, next hops, neighbours and forwarding entries written.")),
      failureCount_(metrics.counter("culvert_routing_kernel_failures_total",
                                    "Changes that the kernel refused.")),
      fullPasses_(metrics.counter("culvert_routing_full_passes_total",
                                  "Comparisons of everything with the kernel.")),
      duration_(metrics.histogram("culvert_routing_pass_seconds", "From a pass's begin to its end.",
                                  {0.0001, 0.001, 0.01, 0.1, 1, 10})),
      peers_(metrics.gauge("culvert_routing_peers", "Other nodes known.")) {
  if (!options_.reservations.empty())
    reservations_.emplace(loop, options_.reservations, [this] { passes_.trigger(); });
  if (options_.settings.bgp.enabled)
    fabric_.emplace(loop, source, log_, metrics,
                    Fabric::Options{options_.node, options_.topologyFile, options_.settings.bgp});
}

template <class T>
void Engine::Impl::hear(const Key& key, const T* now, std::map<std::string, T>& known,
                        Setter<T> set) {
  (model_.*set)(key.name, now);
  known.erase(key.name);
  heard_ = true;
  passes_.trigger();
  saves_.trigger();
}

/// What is only on disk is gone from the source.
template <class T>
void Engine::Impl::forget(std::map<std::string, T>& known, Setter<T> set) {
  for (const auto& [name, object] : known)
    (model_.*set)(name, nullptr);
  known.clear();
}

void Engine::Impl::completed() {
  if (!isComplete()) return;
  forget(known_.nodes, &Model::setNode);
  forget(known_.pools, &Model::setPool);
  forget(known_.blocks, &Model::setBlock);
  hasKnown_ = false;
  missingAtStart_ = model_.self() == nullptr;
  lookAtAll();
}

void Engine::Impl::loadKnown() {
  auto loaded = loadState(options_.stateFile);
  if (!loaded) {
    if (loaded.error().code != Errc::kNotFound)
      log_.warning("the state of an earlier life is not used", {{"why", loaded.error().message}});
    return;
  }
  known_ = *std::move(loaded);
  hasKnown_ = !known_.nodes.empty();
  for (const auto& [name, node] : known_.nodes)
    model_.setNode(name, &node);
  for (const auto& [name, pool] : known_.pools)
    model_.setPool(name, &pool);
  for (const auto& [name, block] : known_.blocks)
    model_.setBlock(name, &block);
  log_.info("forwarding as in an earlier life until the source answers",
            {{"nodes", known_.nodes.size()}, {"file", options_.stateFile}});
}

void Engine::Impl::watch() {
  source_.watch({objects::kNode, "", "", ""}, nodes_);
  source_.watch({objects::kIpPool, "", "", ""}, pools_);
  source_.watch({objects::kAddressBlock, "", "", ""}, blocks_);
}

Result<void> Engine::Impl::start() {
  programmer_ = TRY(Programmer::open(options_.node, options_.settings, options_.keyFile));
  monitor_.emplace(TRY(netlink::Monitor::open({.neighbours = true})));
  kernelEvents_.emplace(loop_, monitor_->fd());
  waitForKernel();
  loadKnown();
  if (fabric_) TRY(fabric_->start());
  if (reservations_) TRY(reservations_->start());
  watch();
  leavers_.start();
  passes_.trigger();
  return {};
}

void Engine::Impl::stop() {
  stopped_ = true;
  passes_.cancel();
  saves_.cancel();
  retry_->cancel();
  nextLook_->cancel();
  if (reservations_) reservations_->stop();
  blockKeeper_.stop();
  leavers_.stop();
  pods_.stop();
  if (fabric_) fabric_->stop();
  if (kernelEvents_) kernelEvents_->release();  // the Monitor owns the descriptor
  kernelEvents_.reset();
  tableWatch_.reset();
  if (isComplete()) save();
}

void Engine::Impl::waitForKernel() {
  kernelEvents_->async_wait(asio::posix::stream_descriptor::wait_read,
                            [this](const boost::system::error_code& error) {
                              if (error || stopped_) return;
                              hearKernel();
                              waitForKernel();
                            });
}

void Engine::Impl::hearKernel() {
  const auto drained = monitor_->drain([this](const netlink::Event& event) { noteEvent(event); });
  if (drained && *drained == netlink::Monitor::Drained::kComplete) return;
  log_.limited(Level::kWarning, "kernel events",
               "lost events of the kernel, looking at everything anew");
  lookAtAll();
}

/// Whatever others change may concern the way to a peer; what we change ourselves does not, nor do
/// neighbours elsewhere.
void Engine::Impl::noteEvent(const netlink::Event& event) {
  if (event.port != programmer_->port() && concerns(event)) lookAtAll();
}

/// Neighbours and forwarding entries of others come and go with their traffic: only what they say
/// about peers counts, and what is missing of ours.
bool Engine::Impl::concerns(const netlink::Event& event) {
  if (std::holds_alternative<netlink::Changed<netlink::FdbEntry>>(event.what)) return false;
  if (const auto* gone = std::get_if<netlink::Removed<netlink::FdbEntry>>(&event.what))
    return programmer_->isOurs(gone->object.link);
  if (const auto* gone = std::get_if<netlink::Removed<netlink::NeighbourSpec>>(&event.what))
    return gone->object.protocol == kProtocol;
  const auto* changed = std::get_if<netlink::Changed<netlink::NeighbourSpec>>(&event.what);
  return changed == nullptr || changed->object.protocol == kProtocol ||
         programmer_->hearNeighbour(changed->object);
}

void Engine::Impl::pass() {
  if (stopped_ || (!isComplete() && !hasKnown_)) return;
  Model::Dirty dirty = model_.takeDirty();
  if (isComplete()) keepAddresses();
  if (std::exchange(all_, false) || !programmed_ || hearsOwnKey()) dirty.all = true;
  if (dirty.empty()) return;
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome = program(dirty);
  duration_.Observe(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  conclude(outcome);
}

/// Blocks are taken and given back, and what others have left is removed.
void Engine::Impl::keepAddresses() {
  blockKeeper_.update(model_, reservations_ ? &reservations_->all() : nullptr);
  if (std::exchange(heard_, false)) leavers_.update(model_);
  if (reservations_) pods_.update(model_, reservations_->all());
  if (!programmed_) return;
  announceLocal();
  if (model_.self() == nullptr) registerNode();
}

/// The source has our next WireGuard key: it may be used.
bool Engine::Impl::hearsOwnKey() const {
  const Node* self = model_.self();
  return self != nullptr && programmer_->keys() != nullptr &&
         programmer_->keys()->isPublished(self->wireguardKeys);
}

/// A WireGuard key's time, or a neighbour that has been good for long enough.
void Engine::Impl::waitForNextLook() {
  const auto left = programmer_->untilNextLook();
  if (!left) return nextLook_->cancel();
  nextLook_->set(nextLook_->now() + *left, [this] { lookAtAll(); });
}

Result<Programmer::Outcome> Engine::Impl::program(const Model::Dirty& dirty) {
  if (!dirty.all) return programmer_->programPeers(model_, dirty.peers);
  fullPasses_.Increment();
  return programmer_->programAll(model_);
}

void Engine::Impl::conclude(const Result<Programmer::Outcome>& outcome) {
  failures_ = outcome ? outcome->failures : std::vector<Error>{outcome.error()};
  for (const Error& failure : failures_) {
    log_.limited(Level::kError, failure.message, "the kernel refused a change",
                 {{"why", failure.message}, {"details", failure.details}});
    failureCount_.Increment();
  }
  if (outcome) changes_.Increment(static_cast<double>(outcome->changes));
  peers_.Set(static_cast<double>(programmer_->plans().size()));
  if (outcome && !programmed_) {
    programmed_ = true;
    log_.info("routing is programmed",
              {{"peers", programmer_->plans().size()}, {"changes", outcome->changes}});
  }
  if (outcome && !programmer_->tableIsProtected()) watchTable();
  if (fabric_ && outcome) fabric_->update(model_, programmer_->surroundings());
  announceLocal();
  publish();
  waitForNextLook();
  if (!failures_.empty()) return retryLater();
  backoff_.succeeded();
}

/// Once; and what happened since the table was listed is looked for.
void Engine::Impl::watchTable() {
  if (tableWatch_) return;
  auto opened = frame::TableWatch::open(loop_, NodeTable::table(), programmer_->nftPort(),
                                        [this] { lookAtAll(); });
  if (!opened) {
    return log_.limited(Level::kWarning, "table watch",
                        "deletions of nftables rules will go unnoticed",
                        {{"why", opened.error().message}});
  }
  tableWatch_ = *std::move(opened);
  lookAtAll();
}

void Engine::Impl::lookAtAll() {
  all_ = true;
  passes_.trigger();
}

void Engine::Impl::retryLater() {
  retry_->set(retry_->now() + backoff_.next(), [this] { lookAtAll(); });
}

void Engine::Impl::announceLocal() {
  LocalNetwork now = local();
  if (now == announced_) return;
  announced_ = std::move(now);
  if (onLocalChange) onLocalChange(announced_);
}

/// Peers take the node's InternalIP unless it says otherwise: written only if that is not where it
/// wants to be reached.
void Engine::Impl::publish() {
  const Node* self = model_.self();
  if (!isComplete()) return;
  if (self == nullptr) return registerNode();
  json annotations = annotationsForOthers(programmer_->surroundings());
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto& underlay = programmer_->surroundings().underlay.of(family);
    if (!underlay || self->endpoint.of(family) == underlay->address.address()) continue;
    annotations[family == Family::kV4 ? objects::annotations::kEndpointV4
                                      : objects::annotations::kEndpointV6] =
        underlay->address.address().text();
  }
  addWireguard(*self, annotations);
  if (self->registered && !leavers_.holdsLease())
    annotations[objects::annotations::kRegistered] = nullptr;  // from now on it stays by itself
  if (annotations.empty() || published_ == annotations.dump()) return;
  published_ = annotations.dump();
  source_.mergePatch(
      objects::kNode, {"", options_.node}, {{"metadata", {{"annotations", annotations}}}}, "",
      [this](const Result<json>& done) {
        if (done) return;
        published_.clear();
        log_.limited(Level::kWarning, "publish", "cannot publish this node's addresses",
                     {{"why", done.error().message}});
      });
}

void Engine::Impl::addWireguard(const Node& self, json& annotations) const {
  const KeyRing* keys = programmer_->keys();
  if (keys == nullptr) return;
  if (const auto all = keys->toPublish(); self.wireguardKeys != all)
    annotations[objects::annotations::kWireguardKeys] =
        all.size() == 1 ? all[0] : all[0] + "," + all[1];
  if (self.wireguardPort != options_.settings.wireguardPort)
    annotations[objects::annotations::kWireguardPort] =
        std::to_string(options_.settings.wireguardPort);
}

/// Where no kubelet does it. A node that somebody removed later stays removed, unless its Node
/// follows its daemon.
void Engine::Impl::registerNode() {
  const bool follows = leavers_.holdsLease();
  if (!options_.registers || !(missingAtStart_ || follows) || std::exchange(registering_, true))
    return;
  Node node;
  node.registered = follows;
  node.meta.name = options_.node;
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto& underlay = programmer_->surroundings().underlay.of(family);
    if (underlay) node.internal.of(family) = node.endpoint.of(family) = underlay->address.address();
  }
  source_.create(objects::kNode, node.toJson(), [this](const Result<json>& done) {
    registering_ = false;
    if (done) {
      missingAtStart_ = false;
      return log_.info("registered this node");
    }
    if (done.error().code == Errc::kAlreadyExists) return;
    log_.limited(Level::kWarning, "register", "cannot register this node",
                 {{"why", done.error().message}});
    retryLater();
  });
}

void Engine::Impl::save() {
  if (!isComplete()) return;
  StateWriter writer;
  for (const auto& [key, node] : nodes_.all())
    writer.add(node);
  for (const auto& [key, pool] : pools_.all())
    writer.add(pool);
  for (const auto& [key, block] : blocks_.all())
    writer.add(block);
  const auto saved = writer.save(options_.stateFile);
  if (!saved)
    log_.limited(Level::kWarning, "state file", "the state is not kept on disk",
                 {{"why", saved.error().message}});
}

Result<void> Engine::Impl::readiness() const {
  if (programmed_) return {};
  if (!failures_.empty()) return failures_.front();
  return makeError(Errc::kTryAgain, "the source has not told everything yet");
}

LocalNetwork Engine::Impl::local() const {
  std::vector<IpPrefix> networks = model_.ownNetworks();
  std::erase_if(networks, [&](const auto& one) { return !blockKeeper_.isOffered(model_, one); });
  return {programmed_, std::move(networks), programmer_ ? programmer_->podMtu() : 0};
}

/// "198.18.1.11/24 on eth0, MTU 1500: the node's InternalIP"
std::string Engine::Impl::underlayText(Family family) const {
  const auto& underlay = programmer_->surroundings().underlay.of(family);
  const std::string& why = programmer_->underlayReasons().of(family);
  if (!underlay) return "none: " + why;
  return underlay->address.text() + " on " + underlay->linkName + ", MTU " +
         std::to_string(underlay->mtuBytes) + ": " + why;
}

/// "2 direct, 2 vxlan-l3"
std::string Engine::Impl::pathsText() const {
  std::map<std::string, int> kinds;
  for (const auto& [name, plan] : programmer_->plans()) {
    for (const PeerPlan::Use& use : plan.uses)
      ++kinds[toText(use.path.kind)];
  }
  std::string text;
  for (const auto& [kind, count] : kinds)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + kind;
  return text;
}

json Engine::Impl::facts() const {
  json result = {{"networks", texts(model_.ownNetworks())}, {"podMtu", local().mtuBytes}};
  if (!programmer_) return result;
  result["ipv4"] = underlayText(Family::kV4);
  result["ipv6"] = underlayText(Family::kV6);
  result["peers"] = programmer_->plans().size();
  result["paths"] = pathsText();
  if (fabric_) result["bgp"] = fabric_->facts();
  return result;
}

std::string Engine::Impl::summary() const {
  if (!programmed_) return "waiting for the source";
  std::string text = std::to_string(programmer_->plans().size()) + " peers";
  const auto networks = model_.ownNetworks();
  if (networks.empty()) return text + ", this node has no pod network";
  for (std::size_t i = 0; i < networks.size(); ++i)
    text += (i == 0 ? ", own " : " ") + networks[i].text();
  return text;
}

/// One for each reason, however many peers have it.
std::vector<Problem> Engine::Impl::pathProblems() const {
  std::map<std::string, std::vector<std::string>> unreached;  // networks, by the reason
  for (const auto& [name, plan] : programmer_->plans()) {
    for (const PeerPlan::Use& use : plan.uses) {
      if (use.path.kind == Path::Kind::kNone)
        unreached[use.path.why].push_back(use.networks.front().text() + " of " + name);
    }
  }
  std::vector<Problem> all;
  for (const auto& [why, networks] : unreached) {
    const std::string others =
        networks.size() > 1 ? " and " + std::to_string(networks.size() - 1) + " more" : "";
    all.push_back({"no way to the pods in " + networks.front() + others + ": " + why,
                   "culvertctl routes shows all of them"});
  }
  return all;
}

std::vector<Problem> Engine::Impl::problems() const {
  std::vector<Problem> all = model_.problems();
  if (programmer_) all = merged(std::move(all), pathProblems());
  if (fabric_) all = merged(std::move(all), fabric_->problems());
  all = merged(std::move(all), blockKeeper_.problems());
  all = merged(std::move(all), leavers_.problems());
  for (const Error& failure : failures_)
    all.push_back({failure.message + (failure.details.empty() ? "" : " (" + failure.details + ")"),
                   "it is tried again"});
  if (model_.self() == nullptr && isComplete())
    all.push_back({"the source has no Node " + options_.node, "create it, or set nodeName"});
  addMalformed("Node", nodes_, all);
  addMalformed("IPPool", pools_, all);
  addMalformed("AddressBlock", blocks_, all);
  return all;
}

json Engine::Impl::routes(const std::string& peer) const {
  json list = json::array();
  if (!programmer_) return list;
  for (const auto& [name, plan] : programmer_->plans()) {
    if (!peer.empty() && name != peer) continue;
    for (const PeerPlan::Use& use : plan.uses) {
      json entry = {{"node", name},
                    {"path", toText(use.path.kind)},
                    {"why", use.path.why},
                    {"networks", texts(use.networks)}};
      if (use.path.kind != Path::Kind::kNone && use.path.kind != Path::Kind::kNative)
        entry["endpoint"] = use.path.endpoint.text();
      list.push_back(entry);
    }
  }
  return list;
}

void Engine::Impl::podAddresses(const Key& pod, std::function<void(Result<json>)> done) {
  if (reservations_) return pods_.ask(pod, std::move(done));
  done(makeError(Errc::kNotAvailable,
                 "this daemon gives no addresses to pods: the role cni is off"));
}

AddressView Engine::Impl::addresses() const {
  return {model_, reservations_ ? &*reservations_ : nullptr, options_.network};
}

void Engine::Impl::bgpPeers(std::function<void(Result<json>)> done) const {
  if (fabric_) return fabric_->peers(std::move(done));
  done(makeError(Errc::kNotAvailable, "BGP is off: routing.bgp.enabled"));
}

Engine::Engine(asio::io_context& loop, sources::Source& source, frame::Log log,
               frame::Metrics& metrics, Options options)
    : impl_(std::make_unique<Impl>(loop, source, std::move(log), metrics, std::move(options))) {}
Engine::~Engine() = default;

Result<void> Engine::start() {
  return impl_->start();
}
void Engine::stop() {
  impl_->stop();
}
Result<void> Engine::readiness() const {
  return impl_->readiness();
}
LocalNetwork Engine::local() const {
  return impl_->local();
}
void Engine::onLocalChange(std::function<void(const LocalNetwork&)> callback) {
  impl_->onLocalChange = std::move(callback);
}
json Engine::facts() const {
  return impl_->facts();
}
std::string Engine::summary() const {
  return impl_->summary();
}
std::vector<Problem> Engine::problems() const {
  return impl_->problems();
}
void Engine::podAddresses(const Key& pod, std::function<void(Result<json>)> done) {
  impl_->podAddresses(pod, std::move(done));
}
AddressView Engine::addresses() const {
  return impl_->addresses();
}
void Engine::bgpPeers(std::function<void(Result<json>)> done) const {
  impl_->bgpPeers(std::move(done));
}
json Engine::routes(const std::string& peer) const {
  return impl_->routes(peer);
}

}  // namespace culvert::routing
