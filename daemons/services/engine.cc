#include "daemons/services/engine.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "daemons/frame/timing.h"
#include "daemons/objects/node.h"
#include "daemons/services/evaluate.h"
#include "daemons/services/flows.h"
#include "daemons/services/nft_backend.h"
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
constexpr frame::Debouncer::Limits kPassLimits{milliseconds(1), milliseconds(0), milliseconds(20)};
constexpr const char* kZoneLabel = "topology.kubernetes.io/zone";
/// The API server does not send what is not for us.
constexpr const char* kOurServices =
    "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless";
constexpr const char* kOurSlices = "!service.kubernetes.io/headless";

template <class T>
using OnProblem = typename sources::Store<T>::OnProblem;

json textOf(const Backend& backend) {
  const std::string address = backend.address.text();
  return (backend.address.family() == Family::kV6 ? "[" + address + "]" : address) + ":" +
         std::to_string(backend.port);
}

json texts(const std::vector<Backend>& backends) {
  json list = json::array();
  for (const Backend& backend : backends)
    list.push_back(textOf(backend));
  return list;
}

const char* textOf(Frontend::Kind kind) {
  switch (kind) {
    case Frontend::Kind::kClusterIp:
      return "ClusterIP";
    case Frontend::Kind::kExternalIp:
      return "ExternalIP";
    case Frontend::Kind::kLoadBalancer:
      return "LoadBalancer";
    case Frontend::Kind::kNodePort:
      return "NodePort";
  }
  return "?";
}

const char* textOf(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::kNotOurs:
      return "not a service";
    case Verdict::Kind::kForward:
      return "forward";
    case Verdict::Kind::kReject:
      return "reject";
    case Verdict::Kind::kDrop:
      return "drop";
  }
  return "?";
}

std::optional<Protocol> parseProtocol(const std::string& text) {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    if (objects::textOf(protocol) == text) return protocol;
  }
  return std::nullopt;
}

bool isWithin(const IpAddress& address, const std::vector<IpPrefix>& networks) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const IpPrefix& network) { return network.contains(address); });
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const frame::RoleContext& context, Options options);

  Result<void> start();
  void stop();
  bool isComplete() const {
    return services_.complete() && slices_.complete() && nodes_.complete();
  }
  Origin originOf(const IpAddress& source) const;
  NftBackend::Settings backendSettings() const;

  Options options_;
  Model model_;
  sources::Store<Service> services_;
  sources::Store<EndpointSlice> slices_;
  sources::Store<objects::Node> nodes_;
  bool programmed_ = false;
  std::optional<Error> failure_;
  std::set<IpAddress> hostAddresses_;

 private:
  template <class T>
  OnProblem<T> complain(const char* kind);
  void completed() { passes_.trigger(); }
  void waitForKernel();
  void hearKernel();
  Result<void> listAddresses();
  void pass();
  void conclude(const Result<NftBackend::Summary>& done);
  void forgetFlows(const std::set<At>& frontends);
  Node thisNode() const;

  asio::io_context& loop_;
  sources::Source& source_;
  frame::Log log_;
  std::optional<NftBackend> backend_;
  std::optional<conntrack::Connection> conntrack_;
  std::optional<netlink::Rtnl> rtnl_;
  std::optional<netlink::Monitor> monitor_;
  std::optional<asio::posix::stream_descriptor> kernelEvents_;
  frame::Debouncer passes_;
  frame::Backoff backoff_{{milliseconds(200), milliseconds(30'000)}};
  std::unique_ptr<frame::Alarm> retry_;
  Model::Change waiting_;  // not yet programmed
  bool addressesChanged_ = true;
  bool stopped_ = false;
};

Engine::Impl::Impl(const frame::RoleContext& context, Options options)
    : options_(std::move(options)),
      services_(
          [this](const Key& key, const Service*, const Service* now) {
            model_.set(key, now);
            passes_.trigger();
          },
          [this] { completed(); }, complain<Service>("Service")),
      slices_(
          [this](const Key& key, const EndpointSlice*, const EndpointSlice* now) {
            model_.set(key, now);
            passes_.trigger();
          },
          [this] { completed(); }, complain<EndpointSlice>("EndpointSlice")),
      nodes_([this](auto&&...) { passes_.trigger(); }, [this] { completed(); },
             complain<objects::Node>("Node")),
      loop_(context.loop),
      source_(*context.source),
      log_(context.log),
      passes_(frame::makeAlarm(context.loop), kPassLimits, [this] { pass(); }),
      retry_(frame::makeAlarm(context.loop)) {}

template <class T>
OnProblem<T> Engine::Impl::complain(const char* kind) {
  return [this, kind](const Key& key, const std::string& what) {
    log_.limited(Level::kWarning, std::string("malformed ") + kind,
                 std::string(kind) + " is malformed", {{"name", key.text()}, {"what", what}});
  };
}

Result<void> Engine::Impl::start() {
  backend_.emplace(TRY(nft::Connection::open()));
  conntrack_.emplace(TRY(conntrack::Connection::open()));
  monitor_.emplace(TRY(netlink::Monitor::open({})));
  rtnl_.emplace(TRY(netlink::Rtnl::open()));
  TRY(listAddresses());
  kernelEvents_.emplace(loop_, monitor_->fd());
  waitForKernel();
  source_.watch({objects::kService, "", "", kOurServices}, services_);
  source_.watch({objects::kEndpointSlice, "", "", kOurSlices}, slices_);
  source_.watch({objects::kNode, "", "metadata.name=" + options_.node, ""}, nodes_);
  return {};
}

void Engine::Impl::stop() {
  stopped_ = true;
  passes_.cancel();
  retry_->cancel();
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

Node Engine::Impl::thisNode() const {
  Node node{options_.node, {}, {hostAddresses_.begin(), hostAddresses_.end()}};
  if (const auto* self = nodes_.find(Key{"", options_.node})) {
    const auto zone = self->meta.labels.find(kZoneLabel);
    if (zone != self->meta.labels.end()) node.zone = zone->second;
  }
  return node;
}

/// Pods are known by the cluster's networks, or by this node's. Node ports are open at the node's
/// own addresses, or at those within the networks that are configured.
NftBackend::Settings Engine::Impl::backendSettings() const {
  NftBackend::Settings settings;
  settings.pods = options_.settings.clusterCidrs;
  const auto* self = nodes_.find(Key{"", options_.node});
  if (settings.pods.empty() && self != nullptr) settings.pods = self->podCidrs;
  const auto& wanted = options_.settings.nodePortAddresses;
  for (const IpAddress& address : hostAddresses_) {
    if (isWithin(address, wanted)) settings.nodePortAddresses.insert(address);
  }
  if (!wanted.empty() || self == nullptr) return settings;
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (const auto& address = self->internal.of(family))
      settings.nodePortAddresses.insert(*address);
  }
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
  conclude(programmed_ ? backend_->apply(model_, waiting_, settings)
                       : backend_->adopt(model_, settings));
}

void Engine::Impl::conclude(const Result<NftBackend::Summary>& done) {
  if (!done) {
    failure_ = done.error();
    log_.limited(Level::kError, failure_->message, "cannot program Services",
                 {{"why", failure_->message}, {"details", failure_->details}});
    programmed_ = false;  // find out what is there
    retry_->set(retry_->now() + backoff_.next(), [this] { passes_.trigger(); });
    return;
  }
  failure_.reset();
  backoff_.succeeded();
  forgetFlows(programmed_ ? waiting_.frontends : model_.everything().frontends);
  waiting_ = {};
  if (!std::exchange(programmed_, true))
    log_.info(
        "Services are programmed",
        {{"services", model_.plans().size()}, {"added", done->added}, {"removed", done->removed}});
}

void Engine::Impl::forgetFlows(const std::set<At>& frontends) {
  const auto removed =
      forgetStaleFlows(*conntrack_, model_, frontends, backendSettings().nodePortAddresses);
  if (!removed)
    log_.limited(Level::kWarning, "flows", "cannot forget UDP flows of endpoints that are gone",
                 {{"why", removed.error().message}});
  else if (*removed != 0)
    log_.info("forgot UDP flows of endpoints that are gone", {{"flows", *removed}});
}

Origin Engine::Impl::originOf(const IpAddress& source) const {
  if (isWithin(source, backendSettings().pods)) return Origin::kPod;
  return hostAddresses_.count(source) != 0 ? Origin::kHost : Origin::kOutside;
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
  for (const Model::Conflict& conflict : impl_->model_.conflicts()) {
    for (const Key& other : conflict.others)
      all.push_back({other.text() + " does not get " + conflict.at.address.text() + ":" +
                         std::to_string(conflict.at.port) + ", which is " + conflict.holder.text() +
                         "'s",
                     "give it another address or port"});
  }
  if (impl_->failure_) all.push_back({impl_->failure_->message, "see the log"});
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
  json rows = json::array();
  for (const auto& [key, ports] : impl_->model_.plans()) {
    for (const PortPlan& port : ports) {
      for (const Frontend& frontend : port.frontends) {
        const bool any = frontend.address.isUnspecified();
        rows.push_back({{"service", key.text()},
                        {"port", port.name},
                        {"kind", textOf(frontend.kind)},
                        {"address", any ? "*" : frontend.address.text()},
                        {"family", port.family == Family::kV4 ? "IPv4" : "IPv6"},
                        {"number", frontend.port},
                        {"protocol", objects::textOf(port.protocol)},
                        {"endpoints", texts(port.cluster)},
                        {"local", texts(port.local)}});
      }
    }
  }
  return rows;
}

Result<json> Engine::trace(const std::string& source, const std::string& address,
                           const std::string& port, const std::string& protocol) const {
  const auto from = IpAddress::parse(source), to = IpAddress::parse(address);
  std::uint16_t number = 0;
  const auto read = std::from_chars(port.data(), port.data() + port.size(), number);
  const auto transport = parseProtocol(protocol);
  if (!from) return makeError(Errc::kInvalidConfig, "source: \"" + source + "\" is no IP address");
  if (!to) return makeError(Errc::kInvalidConfig, "address: \"" + address + "\" is no IP address");
  if (read.ec != std::errc() || read.ptr != port.data() + port.size() || number == 0)
    return makeError(Errc::kInvalidConfig, "port: \"" + port + "\" is no port");
  if (!transport)
    return makeError(Errc::kInvalidConfig,
                     "protocol: \"" + protocol + "\" is none of TCP, UDP, SCTP");
  const Packet packet{impl_->originOf(*from), *from, *to, *transport, number};
  const Verdict verdict =
      evaluate(impl_->model_, impl_->backendSettings().nodePortAddresses, packet);
  json endpoints = json::array();
  for (const Backend& backend : verdict.to)
    endpoints.push_back(
        {{"endpoint", textOf(backend)}, {"masquerade", verdict.masqueradesFor(packet, backend)}});
  static constexpr const char* kOriginTexts[] = {"pod", "host", "outside"};
  return json{{"from", kOriginTexts[static_cast<std::size_t>(packet.origin)]},
              {"verdict", textOf(verdict.kind)},
              {"service", verdict.service.text()},
              {"because", verdict.because},
              {"endpoints", endpoints}};
}

}  // namespace culvert::services
