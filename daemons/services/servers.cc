#include "daemons/services/servers.h"

#include "daemons/services/configuration.h"

namespace culvert::services {

using std::chrono::system_clock;

Servers::Servers(const frame::RoleContext& context, const Settings& settings,
                 const std::string& nodeName, View view, SyncMetrics& metrics)
    : settings_(settings),
      view_(std::move(view)),
      listeners_(context.loop, context.log),
      operators_(context, listeners_, sourcesFor(nodeName)),
      healthChecks_(context.loop, listeners_,
                    [this](const Key& service) { return answerHealthCheck(service); }) {
  if (!settings.nodePorts.localhost) return;
  localhost_.emplace(context.loop, listeners_, view_.model,
                     [&metrics] { metrics.localhostRefused(); });
  listeners_.onFailure([&metrics](const std::string& name) {
    if (name.starts_with(LocalhostPorts::kPrefix)) metrics.localhostListenFailed();
  });
  context.metrics.onScrape(
      [this, &metrics] { metrics.localhostListens(listeners_.countOf(LocalhostPorts::kPrefix)); });
}

OperatorServers::Sources Servers::sourcesFor(const std::string& nodeName) const {
  return {view_.progress,
          [node = view_.node] { return isEligible(node()); },
          {{"kubeproxy.config.k8s.io", toKubeProxyConfig(settings_, nodeName)}}};
}

void Servers::close() {
  listeners_.close();
  localhost_.reset();
}

void Servers::serviceChanged(const Key& key, const objects::Service* now) {
  healthChecks_.set(key, now != nullptr && !now->foreign ? now->healthCheckNodePort : 0);
}

void Servers::programmed(const std::set<At>& frontends, const std::set<IpAddress>& host,
                         const std::set<IpAddress>& nodePorts) {
  healthChecks_.reconcile(healthCheckAddresses(host, nodePorts));
  if (localhost_) localhost_->update(frontends);
}

/// Any of this node's, or those at which node ports are open if networks are configured.
std::set<IpAddress> Servers::healthCheckAddresses(const std::set<IpAddress>& host,
                                                  const std::set<IpAddress>& nodePorts) const {
  if (!settings_.nodePorts.networks.empty()) return nodePorts;
  std::set<IpAddress> any;
  for (const IpAddress& address : host)
    any.insert(IpAddress::unspecified(address.family()));
  return any;
}

frame::HttpResponse Servers::answerHealthCheck(const Key& service) const {
  const std::size_t ready = countReadyHere(view_.model.slicesOf(service), view_.model.node().name);
  return answerServiceHealth(service, ready, view_.progress().isHealthy(system_clock::now()));
}

}  // namespace culvert::services
