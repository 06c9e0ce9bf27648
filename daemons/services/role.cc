#include "daemons/services/role.h"

#include "daemons/services/engine.h"
#include "daemons/services/layout.h"

namespace culvert::services {
namespace {

using frame::Key;
using frame::KeyType;
using frame::RoleStatus;
using nlohmann::json;

std::string parameter(const frame::ControlRequest& request, const std::string& name,
                      const std::string& fallback = "") {
  const auto found = request.query.find(name);
  return found == request.query.end() ? fallback : found->second;
}

class ServicesRole final : public frame::Role {
 public:
  ServicesRole(const frame::RoleContext& context, Engine::Options options)
      : health_(context.health), engine_(context, std::move(options)) {
    context.control.handle("GET", "/v1/services",
                           [this](const frame::ControlRequest& request) -> Result<json> {
                             const std::string name = parameter(request, "name");
                             return name.empty() ? engine_.list() : engine_.describe(name);
                           });
    context.control.handle(
        "GET", "/v1/services/trace", [this](const frame::ControlRequest& request) -> Result<json> {
          return engine_.trace({parameter(request, "source"), parameter(request, "address"),
                                parameter(request, "port"), parameter(request, "protocol", "TCP")});
        });
  }

  Result<void> start() override {
    health_.add(frame::Health::Kind::kReady, "services", [this] { return engine_.readiness(); });
    return engine_.start();
  }

  void stop(std::function<void()> stopped) override {
    health_.remove("services");
    engine_.stop();
    stopped();
  }

  RoleStatus status() const override {
    RoleStatus status;
    status.summary = engine_.summary();
    status.facts = engine_.facts();
    status.complaints = engine_.complaints();
    status.state = !engine_.readiness()        ? RoleStatus::State::kStarting
                   : status.complaints.empty() ? RoleStatus::State::kOk
                                               : RoleStatus::State::kDegraded;
    return status;
  }

 private:
  frame::Health& health_;
  Engine engine_;
};

std::vector<Key> keys() {
  return {
      {"services.clusterCIDRs", KeyType::kStrings, "this node's podCIDRs",
       "who sends from them is a pod"},
      {"services.masqueradeAll", KeyType::kBoolean, "false",
       "packets to cluster IPs come from this node, also those of pods"},
      {"services.nodePortAddresses", KeyType::kStrings, "primary",
       "networks whose addresses on this node have node ports open; primary: its InternalIPs"},
      {"services.healthz.address", KeyType::kString, "0.0.0.0:10256",
       "where load balancers ask for /healthz and /livez; \"\" is off"},
      {"services.metrics.address", KeyType::kString, "127.0.0.1:10249",
       "where /metrics, /proxyMode and /configz are served as by kube-proxy; \"\" is off"},
  };
}

void check(const frame::Config& config, const frame::Settings&, cni::Problems& problems) {
  (void)readSettings(config.section("services", problems));
}

Result<std::unique_ptr<frame::Role>> create(const frame::RoleContext& context) {
  if (context.source == nullptr)
    return makeError(Errc::kInvalidConfig, "the role services needs a source");
  cni::Problems problems;
  Engine::Options options{context.settings.nodeName,
                          readSettings(context.config.section("services", problems))};
  TRY(problems.take());
  return std::unique_ptr<frame::Role>(new ServicesRole(context, std::move(options)));
}

Result<void> cleanUp(const frame::Config&, const frame::Settings&, const frame::Removed& removed) {
  auto nft = TRY(nft::Connection::open());
  for (const nft::Table& table : TRY(nft.listTables())) {
    if (table != layout::table()) continue;
    nft::Transaction tx;
    tx.remove(table);
    TRY(nft.commit(tx));
    removed("table " + nft::toText(table));
  }
  return {};
}

}  // namespace

frame::RoleType roleType() {
  return {"services", keys(), check, create, cleanUp};
}

}  // namespace culvert::services
