#include "daemons/routing/fabric.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/file.h"
#include "daemons/bgp/announce.h"
#include "daemons/bgp/model.h"
#include "daemons/bgp/supervisor.h"
#include "daemons/frame/timing.h"
#include "daemons/objects/secret.h"
#include "daemons/objects/service.h"
#include "daemons/routing/malformed.h"
#include "daemons/sources/store.h"

namespace culvert::routing {
namespace {

using nlohmann::json;
using objects::BgpConfiguration;
using objects::BgpFilter;
using objects::BgpPeer;
using objects::EndpointSlice;
using objects::Key;
using objects::Secret;
using objects::Service;
using std::chrono::milliseconds;

constexpr frame::Debouncer::Limits kLimits{milliseconds(50), milliseconds(0), milliseconds(200)};
constexpr const char* kExcludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers";

/// With the length of our link's prefix if the node is on it: BGP treats it as a neighbour there.
std::optional<IpPrefix> addressOf(const objects::Node& node, const Surroundings& here,
                                  Family family) {
  const auto& endpoint = node.endpoint.of(family);
  if (!endpoint) return std::nullopt;
  const auto& underlay = here.underlay.of(family);
  const bool near = underlay && underlay->address.network().contains(*endpoint);
  return near ? IpPrefix(*endpoint, underlay->address.length()) : IpPrefix::host(*endpoint);
}

bgp::Node nodeFor(const std::string& name, const objects::Node& node, const Model& model,
                  const Surroundings& here) {
  bgp::Node result;
  result.name = name;
  result.labels = node.meta.labels;
  result.ipv4 = addressOf(node, here, Family::kV4);
  result.ipv6 = addressOf(node, here, Family::kV6);
  result.asNumber = node.asNumber;
  result.reflectorClusterId = node.reflectorClusterId;
  result.podBlocks = name == here.thisNode ? model.ownNetworks() : model.networksOf(name);
  result.ready = !node.deleting;
  return result;
}

std::optional<bgp::Topology> loadTopology(const std::string& path) {
  const auto text = readFile(path, 4096);
  const json value = text ? json::parse(*text, nullptr, false) : json();
  if (!value.is_object()) return std::nullopt;
  return bgp::Topology{value.value("mesh", false), value.value("reflectors", false)};
}

std::vector<IpAddress> loadBalancerIps(const Service& service) {
  std::vector<IpAddress> all;
  for (const objects::Ingress& ingress : service.loadBalancer)
    all.push_back(ingress.address);
  return all;
}

template <class T>
std::vector<T> valuesOf(const sources::Store<T>& store) {
  std::vector<T> all;
  for (const auto& [key, object] : store.all())
    all.push_back(object);
  return all;
}

}  // namespace

class Fabric::Impl {
 public:
  Impl(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
       frame::Metrics& metrics, Options options);

  Result<void> start();
  void update(const Model& model, const Surroundings& here);
  void stop();
  json facts() const;
  std::vector<Problem> problems() const;
  bgp::Supervisor supervisor;

 private:
  void run();
  std::map<std::string, std::string> passwords() const;
  std::vector<IpPrefix> announced(const std::vector<BgpConfiguration>& configurations);
  void watchServices();
  void remember(const bgp::Topology& topology);
  void waitForSessions();
  void hear(const bgp::Supervisor::State& state);

  sources::Source& source_;
  frame::Log log_;
  Options options_;
  sources::Store<BgpConfiguration> configurations_;
  sources::Store<BgpPeer> peers_;
  sources::Store<BgpFilter> filters_;
  sources::Store<Secret> secrets_;
  sources::Store<Service> services_;
  sources::Store<EndpointSlice> slices_;
  bool watchesServices_ = false;
  frame::Debouncer runs_;
  std::unique_ptr<frame::Alarm> poll_;
  bgp::BgpInput input_;  // nodes and prefixes, as of the last update()
  bool excluded_ = false;
  bool known_ = false;  // there was one
  std::optional<bgp::Topology> topology_;
  bool settled_ = false;
  std::optional<bgp::BgpModel> model_;
  std::optional<Error> error_;
  prometheus::Counter& reloads_;
  std::uint64_t counted_ = 0;
};

Fabric::Impl::Impl(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
                   frame::Metrics& metrics, Options options)
    : supervisor(loop,
                 {.configFile = options.settings.configFile, .socket = options.settings.socket}),
      source_(source),
      log_(std::move(log)),
      options_(std::move(options)),
      configurations_([this](auto&&...) { runs_.trigger(); }, [this] { runs_.trigger(); },
                      logMalformed(log_, "BGPConfiguration")),
      peers_([this](auto&&...) { runs_.trigger(); }, [this] { runs_.trigger(); },
             logMalformed(log_, "BGPPeer")),
      filters_([this](auto&&...) { runs_.trigger(); }, [this] { runs_.trigger(); },
               logMalformed(log_, "BGPFilter")),
      secrets_([this](auto&&...) { runs_.trigger(); }, [this] { runs_.trigger(); },
               logMalformed(log_, "Secret")),
      services_([this](auto&&...) { runs_.trigger(); }, [this] { runs_.trigger(); },
                logMalformed(log_, "Service")),
      slices_([this](auto&&...) { runs_.trigger(); }, [this] { runs_.trigger(); },
              logMalformed(log_, "EndpointSlice")),
      runs_(frame::makeAlarm(loop), kLimits, [this] { run(); }),
      poll_(frame::makeAlarm(loop)),
      reloads_(metrics.counter("culvert_bgp_reloads_total", "Configurations that BIRD took.")) {}

Result<void> Fabric::Impl::start() {
  const std::string& file = options_.settings.configFile;
  TRY(ensureDirectory(file.substr(0, file.rfind('/')), 0700).context("routing.bgp.configFile"));
  topology_ = loadTopology(options_.topologyFile);
  supervisor.onState([this](const bgp::Supervisor::State& state) { hear(state); });
  source_.watch({objects::kBgpConfiguration, "", "", ""}, configurations_);
  source_.watch({objects::kBgpPeer, "", "", ""}, peers_);
  source_.watch({objects::kBgpFilter, "", "", ""}, filters_);
  source_.watch({objects::kSecret, options_.settings.secretNamespace, "", ""}, secrets_);
  return {};
}

void Fabric::Impl::stop() {
  runs_.cancel();
  poll_->cancel();
}

void Fabric::Impl::update(const Model& model, const Surroundings& here) {
  input_.thisNode = options_.node;
  input_.nodes.clear();
  for (const auto& [name, node] : model.nodes())
    input_.nodes.push_back(nodeFor(name, *node, model, here));
  input_.clusterPrefixes = here.settings.clusterCidrs;
  for (const objects::IpPool& pool : here.pools) {
    if (!pool.disableBgpExport) input_.clusterPrefixes.push_back(pool.cidr);
  }
  // Nodes' own networks that no pool has are pods' as well.
  for (const bgp::Node& node : input_.nodes) {
    for (const IpPrefix& network : node.podBlocks) {
      if (poolOf(here, network) == nullptr) input_.clusterPrefixes.push_back(network);
    }
  }
  const objects::Node* self = model.self();
  excluded_ = self != nullptr && self->meta.labels.count(kExcludeLabel) != 0;
  known_ = self != nullptr;
  runs_.trigger();
}

std::map<std::string, std::string> Fabric::Impl::passwords() const {
  std::map<std::string, std::string> result;
  for (const auto& [key, secret] : secrets_.all()) {
    for (const auto& [name, value] : secret.data)
      result[key.name + "/" + name] = value;
  }
  return result;
}

void Fabric::Impl::watchServices() {
  if (std::exchange(watchesServices_, true)) return;
  source_.watch({objects::kService, "", "", ""}, services_);
  source_.watch({objects::kEndpointSlice, "", "", ""}, slices_);
}

std::vector<IpPrefix> Fabric::Impl::announced(const std::vector<BgpConfiguration>& configurations) {
  bgp::AnnounceFacts facts;
  facts.thisNode = options_.node;
  facts.excluded = excluded_;
  for (const BgpConfiguration& one : configurations) {
    if (one.name != "default" && one.name != "node." + options_.node) continue;
    const auto append = [](std::vector<IpPrefix>& to, const std::vector<IpPrefix>& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    append(facts.clusterIpRanges, one.serviceClusterIps);
    append(facts.externalIpRanges, one.serviceExternalIps);
    append(facts.loadBalancerRanges, one.serviceLoadBalancerIps);
    facts.aggregateLoadBalancer =
        one.serviceLoadBalancerAggregation.value_or(facts.aggregateLoadBalancer);
  }
  if (facts.clusterIpRanges.empty() && facts.externalIpRanges.empty() &&
      facts.loadBalancerRanges.empty())
    return {};
  watchServices();
  if (!services_.complete() || !slices_.complete()) return input_.services;  // as before
  std::vector<bgp::ServiceFacts> services;
  for (const auto& [key, s] : services_.all())
    services.push_back({key.text(), s.clusterIps, s.externalIps, loadBalancerIps(s),
                        s.externalLocal, s.internalLocal});
  std::vector<bgp::EndpointFacts> endpoints;
  for (const auto& [key, slice] : slices_.all()) {
    for (const auto& endpoint : slice.endpoints)
      endpoints.push_back({Key{slice.ns, slice.service}.text(), endpoint.node, endpoint.ready});
  }
  return announcements(facts, services, endpoints);
}

void Fabric::Impl::run() {
  const bool complete =
      configurations_.complete() && peers_.complete() && filters_.complete() && secrets_.complete();
  if (!complete || !known_) return;
  input_.configurations = valuesOf(configurations_);
  input_.peers = valuesOf(peers_);
  input_.filters = valuesOf(filters_);
  input_.passwords = passwords();
  input_.services = announced(input_.configurations);
  input_.topology = topology_;
  input_.settled = settled_;
  auto made = bgp::model(input_);
  error_.reset();
  if (!made) {
    error_ = std::move(made).error();
    return;
  }
  model_ = *std::move(made);
  if (topology_ != model_->topology) remember(model_->topology);
  supervisor.want(model_->config);
  if (model_->changing) waitForSessions();
}

void Fabric::Impl::remember(const bgp::Topology& topology) {
  topology_ = topology;
  settled_ = false;
  const json value = {{"mesh", topology.mesh}, {"reflectors", topology.reflectors}};
  const auto saved = replaceFile(options_.topologyFile, value.dump() + "\n", 0600);
  if (!saved)
    log_.limited(frame::Level::kWarning, "topology", "the BGP topology is not kept on disk",
                 {{"why", saved.error().message}});
}

/// Only while one topology replaces the other: the new one's sessions come up before the old one's
/// go.
void Fabric::Impl::waitForSessions() {
  poll_->set(poll_->now() + milliseconds(1000), [this] {
    supervisor.peers([this](const Result<std::vector<bgp::ProtocolStatus>>& all) {
      const bool toReflectors = model_ && !model_->reflectors.empty();
      if (all && model_ &&
          allEstablished(model_->config, *all, toReflectors ? "reflector" : "node"))
        settled_ = true;
      run();
    });
  });
}

void Fabric::Impl::hear(const bgp::Supervisor::State& state) {
  reloads_.Increment(static_cast<double>(state.reloads - counted_));
  counted_ = state.reloads;
  if (!state.error.empty())
    log_.limited(frame::Level::kWarning, state.error, "BIRD has not got its configuration",
                 {{"why", state.error}});
}

json Fabric::Impl::facts() const {
  const bgp::Supervisor::State& state = supervisor.state();
  json result = {
      {"birdRuns", state.running}, {"applied", state.applied}, {"reloads", state.reloads}};
  if (model_) {
    result["sessions"] = model_->config.peers.size();
    result["announcedServices"] = input_.services.size();
    if (!model_->reflectors.empty()) result["reflectors"] = model_->reflectors;
  }
  return result;
}

std::vector<Problem> Fabric::Impl::problems() const {
  std::vector<Problem> all;
  const bgp::Supervisor::State& state = supervisor.state();
  if (model_ && !state.running)
    all.push_back({"BIRD does not answer on " + options_.settings.socket,
                   "start it: systemctl start culvert-bird"});
  else if (!state.error.empty())
    all.push_back({"BIRD has not got its configuration: " + state.error,
                   "it keeps the former one; correct the BGP objects"});
  if (error_) all.push_back({"BGP: " + error_->message, "give this node an address"});
  if (model_) {
    for (const bgp::Problem& problem : model_->problems)
      all.push_back({problem.object + ": " + problem.message, "correct the object"});
  }
  addMalformed("BGPConfiguration", configurations_, all);
  addMalformed("BGPPeer", peers_, all);
  addMalformed("BGPFilter", filters_, all);
  addMalformed("Secret", secrets_, all);
  addMalformed("Service", services_, all);
  addMalformed("EndpointSlice", slices_, all);
  return all;
}

Fabric::Fabric(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
               frame::Metrics& metrics, Options options)
    : impl_(std::make_unique<Impl>(loop, source, std::move(log), metrics, std::move(options))) {}
Fabric::~Fabric() = default;
Result<void> Fabric::start() {
  return impl_->start();
}
void Fabric::update(const Model& model, const Surroundings& here) {
  impl_->update(model, here);
}
void Fabric::stop() {
  impl_->stop();
}
json Fabric::facts() const {
  return impl_->facts();
}
std::vector<Problem> Fabric::problems() const {
  return impl_->problems();
}

void Fabric::peers(std::function<void(Result<json>)> done) const {
  impl_->supervisor.peers(
      [done = std::move(done)](const Result<std::vector<bgp::ProtocolStatus>>& all) {
        if (!all) return done(all.error());
        json list = json::array();
        for (const bgp::ProtocolStatus& one : *all) {
          if (one.kind != "BGP") continue;
          list.push_back({{"name", one.name},
                          {"description", one.description},
                          {"neighbor", one.neighbor},
                          {"as", one.neighborAs},
                          {"state", one.info},
                          {"since", one.since},
                          {"imported", one.imported},
                          {"exported", one.exported},
                          {"lastError", one.lastError}});
        }
        done(json{{"peers", list}});
      });
}

}  // namespace culvert::routing
