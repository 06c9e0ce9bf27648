#include "daemons/services/role.h"

#include "daemons/services/configuration.h"
#include "daemons/services/engine.h"
#include "daemons/services/layout.h"

namespace culvert::services {
namespace {

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

void check(const frame::Config& config, const frame::Settings&, cni::Problems& problems) {
  (void)readConfiguration(config, problems);
}

/// A name given to the daemon counts more than hostnameOverride, and that more than the host's own.
std::string nodeNameOf(const frame::RoleContext& context, const Configuration& configuration) {
  const bool given =
      context.config.root().contains("nodeName") || !context.config.variable("NODE_NAME").empty();
  return given || configuration.hostname.empty() ? context.settings.nodeName
                                                 : configuration.hostname;
}

Result<std::unique_ptr<frame::Role>> create(const frame::RoleContext& context) {
  if (context.source == nullptr)
    return makeError(Errc::kInvalidConfig, "the role services needs a source");
  cni::Problems problems;
  Configuration configuration = readConfiguration(context.config, problems);
  TRY(problems.take());
  for (const std::string& warning : configuration.warnings)
    context.log.warning("KubeProxyConfiguration", {{"what", warning}});
  Engine::Options options{nodeNameOf(context, configuration), std::move(configuration.settings)};
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
  return {"services", configurationKeys(), check, create, cleanUp};
}

}  // namespace culvert::services
