#include "daemons/services/engine.h"

#include <malloc.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "daemons/frame/table_watch.h"
#include "daemons/frame/timing.h"
#include "daemons/objects/node.h"
#include "daemons/services/applier.h"
#include "daemons/services/conntrack_settings.h"
#include "daemons/services/flows.h"
#include "daemons/services/servers.h"
#include "daemons/services/texts.h"
#include "daemons/services/views.h"
#include "daemons/sources/store.h"
#include "netlink/monitor.h"
#include "netlink/rtnl.h"

namespace culvert::services {
namespace {

namespace asio = boost::asio;
using frame::Level;
using nlohmann::json;
using objects::EndpointSlice;
using objects::Service;
using std::chrono::milliseconds;

/// A Service and its slices come together; far below what one change may take.
constexpr milliseconds kSettle{1}, kMaxDelay{20};
constexpr milliseconds kLater{30'000};
constexpr const char* kZoneLabel = "topology.kubernetes.io/zone";
/// The API server does not send what is not for us.
constexpr const char* kOurServices =
    "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless";
constexpr const char* kOurSlices = "!service.kubernetes.io/headless";

template <class T>
using OnProblem = typename sources::Store<T>::OnProblem;

}  // namespace

class Engine::Impl {
 public:
  Impl(const frame::RoleContext& context, Options options);

  Result<void> start();
  void stop();
  bool isComplete() const {
    return services_.complete() && slices_.complete() && nodes_.complete();
  }
  Surroundings surroundings() const;
  Problems problems() const;
  NftBackend::Settings backendSettings() const;
  Progress progress() const {
    return {waitingSince_, lastProgrammed_, 2 * options_.settings.syncPeriod};
  }
  std::vector<frame::Complaint> serverComplaints() const { return servers_.complaints(); }

  Options options_;
  Model model_;
  sources::Store<Service> services_;
  sources::Store<EndpointSlice> slices_;
  sources::Store<objects::Node> nodes_;
  bool programmed_ = false;
  std::optional<Error> failure_, conntrackFailure_;
  std::set<IpAddress> hostAddresses_;
  std::optional<Applier> applier_;

 private:
  template <class T>
  OnProblem<T> complain(const char* kind);
  void completed() { passes_.trigger(); }
  void queue();
  void waitForKernel();
  void hearKernel();
  Result<void> listAddresses();
  void pass();
  void conclude(const Result<NftBackend::Summary>& done);
  void tellRefused(const std::map<Key, Error>& before);
  void watchTable();
  void whenQuiet();
  void forgetFlows(const std::set<At>& frontends);
  void trackConnections();
  Node thisNode() const;
  const objects::Node* self() const { return nodes_.find(Key{"", options_.node}); }

  asio::io_context& loop_;
  sources::Source& source_;
  frame::Log log_;
  std::optional<conntrack::Connection> conntrack_;
  std::optional<netlink::Rtnl> rtnl_;
  std::optional<netlink::Monitor> monitor_;
  std::optional<asio::posix::stream_descriptor> kernelEvents_;
  frame::Debouncer passes_;
  frame::Backoff backoff_{{milliseconds(200), milliseconds(30'000)}};
  std::unique_ptr<frame::Alarm> retry_, later_;
  std::unique_ptr<frame::TableWatch> tableWatch_;
  Model::Change waiting_;  // not yet programmed
  std::optional<WallTime> waitingSince_;
  WallTime lastProgrammed_{};
  SyncMetrics metrics_;
  Servers servers_;
  bool addressesChanged_ = true;
  bool stopped_ = false;
};

Engine::Impl::Impl(const frame::RoleContext& context, Options options)
    : options_(std::move(options)),
      services_(
          [this](const Key& key, const Service*, const Service* now) {
            model_.set(key, now);
            servers_.serviceChanged(key, now);
            metrics_.serviceChanged();
            queue();
          },
          [this] { completed(); }, complain<Service>("Service")),
      slices_(
          [this](const Key& key, const EndpointSlice*, const EndpointSlice* now) {
            model_.set(key, now);
            metrics_.endpointsChanged(now != nullptr ? now->trigger.at : WallTime());
            queue();
          },
          [this] { completed(); }, complain<EndpointSlice>("EndpointSlice")),
      nodes_([this](auto&&...) { passes_.trigger(); }, [this] { completed(); },
             complain<objects::Node>("Node")),
      loop_(context.loop),
      source_(*context.source),
      log_(context.log),
      passes_(frame::makeAlarm(context.loop), {kSettle, options_.settings.minSyncPeriod, kMaxDelay},
              [this] { pass(); }),
      retry_(frame::makeAlarm(context.loop)),
      later_(frame::makeAlarm(context.loop)),
      metrics_(context.metrics),
      servers_(context, options_.settings, options_.node,
               {model_, [this] { return progress(); }, [this] { return self(); }}, metrics_) {
  context.metrics.onScrape([this] {
    metrics_.setWithoutLocal(countWithoutLocal(model_));
    metrics_.setQuarantined(applier_ ? applier_->quarantined().size() : 0);
  });
}

/// A change waits from now on, unless an older one does.
void Engine::Impl::queue() {
  if (!waitingSince_) {
    waitingSince_ = std::chrono::system_clock::now();
    metrics_.queued(*waitingSince_);
  }
  passes_.trigger();
}

template <class T>
OnProblem<T> Engine::Impl::complain(const char* kind) {
  return [this, kind](const Key& key, const std::string& what) {
    log_.limited(Level::kWarning, std::string("malformed ") + kind,
                 std::string(kind) + " is malformed", {{"name", key.text()}, {"what", what}});
  };
}

Result<void> Engine::Impl::start() {
  applier_.emplace(NftBackend(TRY(openKernel())));
  conntrack_.emplace(TRY(conntrack::Connection::open()));
  monitor_.emplace(TRY(netlink::Monitor::open({})));
  rtnl_.emplace(TRY(netlink::Rtnl::open()));
  TRY(listAddresses());
  trackConnections();
  servers_.open();
  kernelEvents_.emplace(loop_, monitor_->fd());
  waitForKernel();
  source_.watch({objects::kService, "", "", kOurServices}, services_);
  source_.watch({objects::kEndpointSlice, "", "", kOurSlices}, slices_);
  source_.watch({objects::kNode, "", "metadata.name=" + options_.node, ""}, nodes_);
  return {};
}

void Engine::Impl::stop() {
  stopped_ = true;
  servers_.close();
  passes_.cancel();
  retry_->cancel();
  later_->cancel();
  tableWatch_.reset();
  if (kernelEvents_) kernelEvents_->release();  // the Monitor owns the descriptor
  kernelEvents_.reset();
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
  const auto drained = monitor_->drain([this](const netlink::Event& event) {
    if (std::holds_alternative<netlink::Changed<netlink::Address>>(event.what) ||
        std::holds_alternative<netlink::Removed<netlink::Address>>(event.what))
      addressesChanged_ = true;
  });
  if (!drained || *drained == netlink::Monitor::Drained::kOverrun) addressesChanged_ = true;
  if (addressesChanged_) passes_.trigger();
}

Result<void> Engine::Impl::listAddresses() {
  std::set<IpAddress> addresses;
  for (const netlink::Address& address : TRY(rtnl_->listAddresses(netlink::IfIndex::kNone)))
    addresses.insert(address.prefix.address());
  hostAddresses_ = std::move(addresses);
  addressesChanged_ = false;
  return {};
}

void Engine::Impl::trackConnections() {
  auto applied = applyConntrack(options_.settings.conntrack);
  if (applied) return;
  conntrackFailure_ = std::move(applied).error();
  log_.warning("cannot set how connections are tracked", {{"why", conntrackFailure_->message}});
}

Node Engine::Impl::thisNode() const {
  Node node{options_.node, {}, {hostAddresses_.begin(), hostAddresses_.end()}};
  if (self() == nullptr) return node;
  const auto zone = self()->meta.labels.find(kZoneLabel);
  if (zone != self()->meta.labels.end()) node.zone = zone->second;
  return node;
}

/// Pods are known by the cluster's networks, or by this node's.
NftBackend::Settings Engine::Impl::backendSettings() const {
  NftBackend::Settings settings;
  settings.pods = options_.settings.clusterCidrs;
  if (settings.pods.empty() && self() != nullptr) settings.pods = self()->podCidrs;
  std::vector<IpAddress> internal;
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (self() != nullptr && self()->internal.of(family))
      internal.push_back(*self()->internal.of(family));
  }
  settings.nodePortAddresses = options_.settings.nodePorts.of(hostAddresses_, internal);
  return settings;
}

void Engine::Impl::pass() {
  if (stopped_ || !isComplete()) return;
  if (addressesChanged_) {
    if (auto listed = listAddresses(); !listed) return conclude(std::move(listed).error());
  }
  const NftBackend::Settings settings = backendSettings();
  const auto knows = [&](Family family) {
    return std::any_of(settings.pods.begin(), settings.pods.end(),
                       [&](const IpPrefix& pods) { return pods.family() == family; });
  };
  model_.setPolicy({options_.settings.masqueradeAll, {knows(Family::kV4), knows(Family::kV6)}});
  model_.setNode(thisNode());
  waiting_.merge(model_.refresh());
  const auto refused = applier_->quarantined();
  const auto extent = programmed_ ? SyncMetrics::Extent::kPartial : SyncMetrics::Extent::kFull;
  const auto began = std::chrono::steady_clock::now();
  const auto done =
      programmed_ ? applier_->apply(model_, waiting_, settings) : applier_->adopt(model_, settings);
  if (done)
    metrics_.programmed(extent, std::chrono::steady_clock::now() - began, done->added,
                        done->removed);
  conclude(done);
  tellRefused(refused);
  watchTable();
  if (!failure_ && (applier_->backend().isUntidy() || !applier_->quarantined().empty()))
    later_->set(later_->now() + kLater, [this] { whenQuiet(); });
}

void Engine::Impl::tellRefused(const std::map<Key, Error>& before) {
  for (const auto& [key, why] : applier_->quarantined()) {
    if (before.count(key) == 0)
      log_.limited(Level::kError, "refused", "the kernel refuses a Service; the others go on",
                   {{"service", key.text()}, {"why", why.message}, {"details", why.details}});
  }
}

/// For kernels that let others change our table.
void Engine::Impl::watchTable() {
  if (applier_->backend().isProtected()) return tableWatch_.reset();
  if (tableWatch_ || failure_) return;
  auto opened = frame::TableWatch::open(loop_, layout::table(), applier_->backend().port(), [this] {
    log_.limited(Level::kWarning, "foreign",
                 "somebody else has changed our table; looking at all of it");
    metrics_.repaired();
    programmed_ = false;
    passes_.trigger();
  });
  if (opened)
    tableWatch_ = *std::move(opened);
  else
    log_.limited(Level::kWarning, "watch", "cannot hear of changes that others make to our table",
                 {{"why", opened.error().message}});
}

/// What can wait: Services that were refused are tried again, and what nothing needs any more goes.
void Engine::Impl::whenQuiet() {
  if (!programmed_) return;
  for (const auto& [key, why] : applier_->quarantined()) {
    waiting_.services.insert(key);
    const auto* ports = model_.find(key);
    if (ports == nullptr) continue;
    for (const PortPlan& port : *ports) {
      for (const Frontend& frontend : port.frontends)
        waiting_.frontends.insert(placeOf(port, frontend));
    }
  }
  if (!waiting_.empty()) return passes_.trigger();
  if (!applier_->backend().isUntidy()) return;
  if (const auto tidied = applier_->backend().tidy(); !tidied)
    log_.limited(Level::kWarning, "tidy", "cannot remove what nothing needs any more",
                 {{"why", tidied.error().message}});
}

void Engine::Impl::conclude(const Result<NftBackend::Summary>& done) {
  if (!done) {
    failure_ = done.error();
    metrics_.failed();
    log_.limited(Level::kError, failure_->message, "cannot program Services",
                 {{"why", failure_->message}, {"details", failure_->details}});
    programmed_ = false;  // find out what is there
    retry_->set(retry_->now() + backoff_.next(), [this] { passes_.trigger(); });
    return;
  }
  failure_.reset();
  waitingSince_.reset();
  lastProgrammed_ = std::chrono::system_clock::now();
  backoff_.succeeded();
  if (!programmed_) waiting_.merge(model_.everything());  // besides what has gone meanwhile
  servers_.programmed(waiting_.frontends, hostAddresses_, backendSettings().nodePortAddresses);
  forgetFlows(waiting_.frontends);
  waiting_ = {};
  if (std::exchange(programmed_, true)) return;
  ::malloc_trim(0);  // a start takes much more than what stays
  log_.info(
      "Services are programmed",
      {{"services", model_.plans().size()}, {"added", done->added}, {"removed", done->removed}});
}

void Engine::Impl::forgetFlows(const std::set<At>& frontends) {
  const auto began = std::chrono::steady_clock::now();
  const auto removed =
      forgetStaleFlows(*conntrack_, model_, frontends, backendSettings().nodePortAddresses);
  if (removed) metrics_.forgotFlows(std::chrono::steady_clock::now() - began, *removed);
  if (!removed)
    log_.limited(Level::kWarning, "flows", "cannot forget UDP flows of endpoints that are gone",
                 {{"why", removed.error().message}});
  else if (*removed != 0)
    log_.info("forgot UDP flows of endpoints that are gone", {{"flows", *removed}});
}

Surroundings Engine::Impl::surroundings() const {
  NftBackend::Settings settings = backendSettings();
  return {std::move(settings.pods), hostAddresses_, std::move(settings.nodePortAddresses),
          options_.settings.nodePorts.localhost};
}

Problems Engine::Impl::problems() const {
  return {services_.problems().begin(), services_.problems().end()};
}

Engine::Engine(const frame::RoleContext& context, Options options)
    : impl_(std::make_unique<Impl>(context, std::move(options))) {}
Engine::~Engine() = default;
Result<void> Engine::start() {
  return impl_->start();
}
void Engine::stop() {
  impl_->stop();
}

Result<void> Engine::readiness() const {
  if (impl_->failure_) return *impl_->failure_;
  if (!impl_->programmed_)
    return makeError(Errc::kTryAgain, "Services have not been programmed yet");
  return {};
}

std::string Engine::summary() const {
  if (!impl_->programmed_) return "waiting for the source";
  return std::to_string(impl_->model_.plans().size()) + " services";
}

json Engine::facts() const {
  std::size_t frontends = 0, endpoints = 0;
  for (const auto& [key, ports] : impl_->model_.plans()) {
    for (const PortPlan& port : ports) {
      frontends += port.frontends.size();
      endpoints += std::max(port.cluster.size(), port.local.size());
    }
  }
  return {{"services", impl_->model_.plans().size()},
          {"frontends", frontends},
          {"endpoints", endpoints}};
}

std::vector<frame::Complaint> Engine::complaints() const {
  std::vector<frame::Complaint> all;
  if (impl_->failure_) all.push_back({impl_->failure_->message, "see the log"});
  if (impl_->conntrackFailure_)
    all.push_back({"services.conntrack: " + impl_->conntrackFailure_->message,
                   "set it in the machine's own network namespace, or remove the key"});
  for (frame::Complaint& complaint : impl_->serverComplaints())
    all.push_back(std::move(complaint));
  if (impl_->applier_) {
    for (const auto& [key, why] : impl_->applier_->quarantined())
      all.push_back({"the kernel refuses Service " + key.text() + ": " + why.message,
                     "the others go on; change it, or see the log"});
  }
  for (const Model::Conflict& conflict : impl_->model_.conflicts()) {
    for (const Key& other : conflict.others)
      all.push_back({other.text() + " does not get " + longTextOf(conflict.at) + ", which is " +
                         conflict.holder.text() + "'s",
                     "give it another address or port"});
  }
  for (const auto& [key, service] : impl_->services_.all()) {
    for (const IpAddress& address : service.clusterIps) {
      if (impl_->hostAddresses_.count(address) != 0)
        all.push_back({key.text() + " does not get the cluster IP " + address.text() +
                           ", which is this node's own",
                       "give it another address"});
    }
  }
  const auto addProblems = [&](const char* kind, const auto& store) {
    for (const auto& [key, what] : store.problems())
      all.push_back({std::string(kind) + " " + key.text() + ": " + what, "correct the object"});
  };
  addProblems("Service", impl_->services_);
  addProblems("EndpointSlice", impl_->slices_);
  constexpr std::size_t kShown = 20;
  if (all.size() > kShown) {
    const std::string more = std::to_string(all.size() - kShown);
    all.resize(kShown);
    all.push_back({more + " more are wrong", "correct them"});
  }
  return all;
}

json Engine::list() const {
  return listServices(impl_->model_, impl_->problems());
}

Result<json> Engine::describe(const std::string& name) const {
  return describeServices(impl_->model_, impl_->problems(), name);
}

Result<json> Engine::trace(const Question& question) const {
  const Surroundings surroundings = impl_->surroundings();
  const Packet packet = TRY(parsePacket(question, surroundings));
  return services::trace(impl_->model_, surroundings, packet);
}

}  // namespace culvert::services
