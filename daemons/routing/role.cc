#include "daemons/routing/role.h"

#include <algorithm>

#include "daemons/routing/address_release.h"
#include "daemons/routing/cleanup.h"
#include "daemons/routing/engine.h"
#include "daemons/routing/settings.h"

namespace culvert::routing {
namespace {

using frame::Key;
using frame::KeyType;
using frame::RoleStatus;
using nlohmann::json;

json problemsReport(const AddressView& view) {
  json list = json::array();
  for (const Problem& problem : addressProblems(view))
    list.push_back({{"what", problem.what}, {"remedy", problem.remedy}});
  return list;
}

/// {"what": "10.244.1.9", "force": false}
Result<ReleaseOrder> readOrder(const frame::ControlRequest& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(request.body, "", problems);
  ReleaseOrder order{
      reader.string("what"), reader.boolean("force"),
      "uid " + std::to_string(request.peer.uid) + ", pid " + std::to_string(request.peer.pid)};
  if (order.what.empty()) problems.add("what", "missing");
  TRY(problems.take());
  return order;
}

/// {"namespace": "default", "name": "web-0"}
Result<objects::Key> readPod(const frame::ControlRequest& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(request.body, "", problems);
  objects::Key pod{reader.string("namespace"), reader.string("name")};
  if (pod.ns.empty() || pod.name.empty()) problems.add("name", "namespace or name is missing");
  TRY(problems.take());
  return pod;
}

class RoutingRole final : public frame::Role {
 public:
  RoutingRole(const frame::RoleContext& context, Engine::Options options,
              std::shared_ptr<LocalNetworkBoard> board)
      : health_(context.health),
        log_(context.log),
        source_(*context.source),
        board_(std::move(board)),
        engine_(context.loop, *context.source, context.log, context.metrics, std::move(options)) {
    engine_.onLocalChange([this](const LocalNetwork& now) { board_->set(now); });
    context.control.handle(
        "GET", "/v1/routes", [this](const frame::ControlRequest& request) -> Result<json> {
          const auto node = request.query.find("node");
          return json{{"routes", engine_.routes(node == request.query.end() ? "" : node->second)}};
        });
    handleAddresses(context.control);
    context.control.handleAsync("GET", "/v1/bgp",
                                [this](const frame::ControlRequest&, frame::Control::Done done) {
                                  engine_.bgpPeers(std::move(done));
                                });
  }

  Result<void> start() override {
    health_.add(frame::Health::Kind::kReady, "routing", [this] { return engine_.readiness(); });
    return engine_.start();
  }

  void stop(std::function<void()> stopped) override {
    health_.remove("routing");
    engine_.stop();
    stopped();
  }

  RoleStatus status() const override {
    RoleStatus status;
    status.summary = engine_.summary();
    status.facts = engine_.facts();
    for (const Problem& problem : engine_.problems())
      status.complaints.push_back({problem.what, problem.remedy});
    status.state = !engine_.readiness()        ? RoleStatus::State::kStarting
                   : status.complaints.empty() ? RoleStatus::State::kOk
                                               : RoleStatus::State::kDegraded;
    return status;
  }

 private:
  void handleAddresses(frame::Control& control) {
    const auto show = [&](const char* path, const char* key, json (*report)(const AddressView&)) {
      control.handle("GET", path, [this, key, report](const auto&) -> Result<json> {
        return json{{key, report(engine_.addresses())}};
      });
    };
    show("/v1/ipam", "networks", networksReport);
    show("/v1/ipam/pools", "pools", poolsReport);
    show("/v1/ipam/addresses", "addresses", addressesReport);
    show("/v1/ipam/problems", "problems", problemsReport);
    control.handleAsync("POST", "/v1/pods/addresses",
                        [this](const frame::ControlRequest& request, frame::Control::Done done) {
                          auto pod = readPod(request);
                          if (!pod) return done(pod.error());
                          engine_.podAddresses(*pod, std::move(done));
                        });
    control.handleAsync("POST", "/v1/ipam/release",
                        [this](const frame::ControlRequest& request, frame::Control::Done done) {
                          auto order = readOrder(request);
                          if (!order) return done(order.error());
                          release(engine_.addresses(), source_, log_, *order, std::move(done));
                        });
  }

  frame::Health& health_;
  frame::Log log_;
  sources::Source& source_;
  std::shared_ptr<LocalNetworkBoard> board_;
  Engine engine_;
};

std::vector<Key> keys() {
  return {
      {"routing.encapsulation", KeyType::kString, "vxlan-l3",
       "for pod networks in no IPPool: vxlan-l3, vxlan, ipip, wireguard, none"},
      {"routing.tunnelMode", KeyType::kString, "CrossSubnet",
       "when it is used: Always, CrossSubnet (not for nodes on-link), Never"},
      {"routing.natOutgoing", KeyType::kBoolean, "true",
       "masquerade what pods in no IPPool send out of the cluster"},
      {"routing.clusterCIDRs", KeyType::kStrings, "",
       "pod networks besides those of pools and nodes"},
      {"routing.nonMasqueradeCIDRs", KeyType::kStrings, "",
       "destinations that see the pod's own address"},
      {"routing.interface", KeyType::kString, "the one with the node's address",
       "the underlay's interface"},
      {"routing.nodeIPs", KeyType::kStrings, "found out",
       "this node's address, one for each family"},
      {"routing.vni", KeyType::kInteger, "1", "VXLAN network identifier, 1..16777215"},
      {"routing.vxlanPort", KeyType::kInteger, "8472", "UDP port of vxlan"},
      {"routing.vxlanL3Port", KeyType::kInteger, "4790", "UDP port of vxlan-l3"},
      {"routing.wireguardPort", KeyType::kInteger, "51820",
       "UDP port of wireguard, and the next one"},
      {"routing.wireguardRotationSeconds", KeyType::kInteger, "604800",
       "between two changes of this node's keys; 0: never. The same on all nodes"},
      {"routing.mtu", KeyType::kInteger, "the underlay's less the tunnel",
       "largest packet of pods, in bytes"},
      {"routing.registerNode", KeyType::kBoolean, "true, but false with source.type kubernetes",
       "create this node's Node if there is none"},
      {"routing.blockGraceSeconds", KeyType::kInteger, "900",
       "until the blocks of a node that is gone are free again"},
      {"routing.emptyBlockSeconds", KeyType::kInteger, "300",
       "until an empty block that is not needed is offered no more, and then until it goes"},
      {"routing.leaseSeconds", KeyType::kInteger, "60",
       "etcd: how long a node that is not heard of counts as alive"},
      {"routing.flannel", KeyType::kBoolean, "false",
       "take flannel's place: its device and its annotations"},
      {"routing.calico", KeyType::kBoolean, "false",
       "take Calico's place where it uses VXLAN: its device, its numbers, its annotations"},
      {"routing.bgp.enabled", KeyType::kBoolean, "false", "speak BGP through BIRD"},
      {"routing.bgp.configFile", KeyType::kString, "/run/culvert/bird/bird.conf",
       "what BIRD reads"},
      {"routing.bgp.socket", KeyType::kString, "/run/culvert/bird/bird.ctl",
       "BIRD's control socket"},
      {"routing.bgp.secretNamespace", KeyType::kString, "kube-system",
       "where the Secrets with peers' passwords are"},
      {"routing.checksumOffload", KeyType::kBoolean, "true",
       "false: tunnels compute checksums in software"},
  };
}

constexpr const char* kReservations = "/var/lib/cni/networks/";  // host-local's

/// Where the role cni has its pods' addresses reserved.
void setPodNetwork(const frame::RoleContext& context, cni::Problems& problems,
                   Engine::Options& options) {
  const auto& roles = context.settings.roles;
  if (std::find(roles.begin(), roles.end(), "cni") == roles.end()) return;
  options.network = context.config.section("cni", problems).string("network", "culvert");
  options.reservations = kReservations + options.network;
}

/// Only Kubernetes has kubelets, which do it there.
bool registersNode(const frame::Config& config, cni::Problems& problems) {
  const bool kubelets = config.section("source", problems).string("type") == "kubernetes";
  return config.section("routing", problems).boolean("registerNode", !kubelets);
}

void check(const frame::Config& config, const frame::Settings&, cni::Problems& problems) {
  (void)registersNode(config, problems);
  (void)readSettings(config.section("routing", problems));
}

/// In the state's folder, with what a write that was cut short leaves.
std::vector<std::string> filesOf(const std::string& stateDir, const Settings& settings) {
  std::vector<std::string> files;
  for (const char* name :
       {"/routing.state", "/bgp.topology", "/wireguard.key", "/wireguard.key.1"}) {
    files.push_back(stateDir + name);
    files.push_back(stateDir + name + ".new");
  }
  files.push_back(settings.bgp.configFile);
  files.push_back(settings.bgp.configFile + ".check");
  return files;
}

Result<void> cleanup(const frame::Config& config, const frame::Settings& settings,
                     const frame::Removed& removed) {
  cni::Problems problems;
  const Settings routing = readSettings(config.section("routing", problems));
  TRY(problems.take());
  return cleanUp(filesOf(settings.stateDir, routing), removed);
}

}  // namespace

frame::RoleType roleType(std::shared_ptr<LocalNetworkBoard> board) {
  const auto create =
      [board](const frame::RoleContext& context) -> Result<std::unique_ptr<frame::Role>> {
    if (context.source == nullptr)
      return makeError(Errc::kInvalidConfig, "the role routing needs a source");
    cni::Problems problems;
    Engine::Options options;
    options.node = context.settings.nodeName;
    options.stateFile = context.settings.stateDir + "/routing.state";
    options.settings = readSettings(context.config.section("routing", problems));
    options.topologyFile = context.settings.stateDir + "/bgp.topology";
    options.keyFile = context.settings.stateDir + "/wireguard.key";
    options.registers = registersNode(context.config, problems);
    setPodNetwork(context, problems, options);
    TRY(problems.take());
    return std::unique_ptr<frame::Role>(new RoutingRole(context, std::move(options), board));
  };
  return {"routing", keys(), check, create, cleanup};
}

}  // namespace culvert::routing
