#include "plugins/firewall/config.h"

#include "cni/config_reader.h"

namespace culvert::plugins {
namespace {

using hostfw::IngressPolicy;

void readBackend(const cni::ConfigReader& reader, FirewallConfig& config) {
  const std::string backend = reader.string("backend");
  config.enabled = backend != "none";
  if (backend == "firewalld") {
    reader.problem("backend",
                   "is not supported: firewalld has its own tables; leave \"backend\" out and "
                   "put the containers' interfaces into a zone with firewall-cmd");
  } else if (!backend.empty() && backend != "nftables" && backend != "iptables" && config.enabled) {
    reader.problem("backend", "is none of \"nftables\", \"iptables\" and \"none\"");
  }
}

IngressPolicy readPolicy(const cni::ConfigReader& reader) {
  const std::string policy = reader.string("ingressPolicy");
  if (policy == "same-bridge") return IngressPolicy::kSameBridge;
  if (policy == "isolated") return IngressPolicy::kIsolated;
  if (!policy.empty() && policy != "open")
    reader.problem("ingressPolicy", "is none of \"open\", \"same-bridge\" and \"isolated\"");
  return IngressPolicy::kOpen;
}

bool isContainers(const cni::IpConfig& ip, const cni::AddResult& result) {
  const bool isKnown = ip.interface && *ip.interface < result.interfaces.size();
  return !isKnown || !result.interfaces[*ip.interface].sandbox.empty();
}

}  // namespace

Result<FirewallConfig> parseFirewallConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  FirewallConfig config;
  readBackend(reader, config);
  config.options.policy = readPolicy(reader);
  config.options.dropInvalid = reader.boolean("dropInvalid");
  static_cast<void>(reader.string("firewalldZone"));
  const std::string chain = reader.string("iptablesAdminChainName");
  if (!chain.empty()) config.options.adminChain = chain;
  if (!hostfw::canBeAdminChain(config.options.adminChain)) {
    reader.problem("iptablesAdminChainName",
                   "is no chain name (1 to 28 letters, digits, '-', '_' and '.') or already means "
                   "something");
  }
  TRY(problems.take());
  return config;
}

Result<Forwarded> planForward(const FirewallConfig& config, const cni::AddResult& result) {
  Forwarded plan{{}, config.options};
  for (const cni::IpConfig& ip : result.ips) {
    if (isContainers(ip, result)) plan.addresses.push_back(ip.address.address());
  }
  if (config.options.policy == IngressPolicy::kOpen) return plan;
  for (const cni::Interface& interface : result.interfaces) {
    if (!interface.sandbox.empty() || interface.name.empty()) continue;
    if (plan.options.bridge.empty()) {
      plan.options.bridge = interface.name;
    } else if (config.options.policy == IngressPolicy::kIsolated) {
      plan.options.ports.push_back(interface.name);
    }
  }
  if (!plan.options.bridge.empty()) return plan;
  return makeError(Errc::kInvalidConfig,
                   "ingressPolicy: prevResult tells of no interface on the host");
}

}  // namespace culvert::plugins
