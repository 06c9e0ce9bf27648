#include "daemons/services/views.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "daemons/services/texts.h"

namespace culvert::services {
namespace {

using nlohmann::json;
using objects::Service;

bool isInside(const Frontend& frontend) {
  return frontend.kind == Frontend::Kind::kClusterIp;
}

const char* policyOf(const PortPlan& port, const Frontend& frontend) {
  return (isInside(frontend) ? port.internalLocal : port.externalLocal) ? "Local" : "Cluster";
}

const char* familyText(Family family) {
  return family == Family::kV4 ? "IPv4" : "IPv6";
}

json texts(const std::vector<Backend>& backends) {
  json list = json::array();
  for (const Backend& backend : backends)
    list.push_back(textOf(backend));
  return list;
}

bool anyOrigin(const Frontend& frontend, Target target) {
  return std::any_of(kOrigins.begin(), kOrigins.end(),
                     [&](Origin origin) { return frontend.by.of(origin).target == target; });
}

/// The addresses to which packets of some origin go.
std::set<IpAddress> reached(const PortPlan& port, const Frontend& frontend) {
  std::set<IpAddress> all;
  const auto add = [&](Target target, const std::vector<Backend>& backends) {
    if (!anyOrigin(frontend, target)) return;
    for (const Backend& backend : backends)
      all.insert(backend.address);
  };
  add(Target::kCluster, port.cluster);
  add(Target::kLocal, port.local);
  return all;
}

/// How many endpoints the Service has in a family, used or not; one that is in two slices is one.
std::size_t countKnown(const Slices& slices, Family family) {
  std::set<IpAddress> all;
  for (const objects::EndpointSlice* slice : slices) {
    for (const auto& endpoint : slice->endpoints) {
      if (endpoint.address && endpoint.address->family() == family) all.insert(*endpoint.address);
    }
  }
  return all.size();
}

std::string problemOf(const Model& model, const Key& service, const PortPlan& port,
                      const Frontend& frontend) {
  const auto claimants = model.claimants(placeOf(port, frontend));
  if (!claimants.empty() && claimants.front() != service)
    return "it is " + claimants.front().text() + "'s";
  if (anyOrigin(frontend, Target::kReject)) return "no usable endpoint: refused";
  if (anyOrigin(frontend, Target::kDrop))
    return std::string("no endpoint on this node: dropped") +
           (isInside(frontend) ? "" : " if from outside");
  return {};
}

json rowOf(const Model& model, const Key& key, const PortPlan& port, const Frontend& frontend,
           std::size_t known) {
  return {{"service", key.text()},
          {"port", port.name},
          {"kind", textOf(frontend.kind)},
          {"address", frontend.address.isUnspecified() ? "*" : frontend.address.text()},
          {"family", familyText(port.family)},
          {"number", frontend.port},
          {"protocol", objects::textOf(port.protocol)},
          {"frontend", textOf(placeOf(port, frontend))},
          {"policy", policyOf(port, frontend)},
          {"affinitySeconds", port.affinity.count()},
          {"used", reached(port, frontend).size()},
          {"known", known},
          {"endpoints", texts(port.cluster)},
          {"local", texts(port.local)},
          {"problem", problemOf(model, key, port, frontend)}};
}

std::vector<Explanation> explanationsOf(const Model& model, const Key& key,
                                        const Service& service) {
  return explain(service, model.slicesOf(key), model.node(), model.policy());
}

/// "2 endpoints, masqueraded"
std::string treatmentText(const PortPlan& port, const Treatment& treatment) {
  const char* masquerade = treatment.masquerade ? ", masqueraded" : "";
  switch (treatment.target) {
    case Target::kCluster:
      return counted(port.cluster.size(), "endpoint") + masquerade;
    case Target::kLocal:
      return counted(port.local.size(), "endpoint") + " here" + masquerade;
    case Target::kReject:
      return "refused";
    case Target::kDrop:
      return "dropped";
  }
  return "?";
}

json frontendOf(const Model& model, const Key& key, const PortPlan& port,
                const Frontend& frontend) {
  json claimants = json::array();
  for (const Key& each : model.claimants(placeOf(port, frontend)))
    claimants.push_back(each.text());
  json row{{"frontend", textOf(placeOf(port, frontend))},
           {"kind", textOf(frontend.kind)},
           {"policy", policyOf(port, frontend)},
           {"problem", problemOf(model, key, port, frontend)},
           {"claimedBy", std::move(claimants)}};
  for (const Origin origin : kOrigins)
    row["from"][textOf(origin)] = treatmentText(port, frontend.by.of(origin));
  return row;
}

/// Whether an endpoint is used, and why: where the two lists differ, the reason is that of the
/// list that leaves it out.
struct Use {
  const char* used;
  Reason why;
};
Use useOf(const Judged& judged) {
  const bool cluster = isUsed(judged.cluster), local = isUsed(judged.local);
  const bool both = judged.cluster != Reason::kNotAsked && judged.local != Reason::kNotAsked;
  if (!both) {
    const Reason reason = judged.cluster == Reason::kNotAsked ? judged.local : judged.cluster;
    return {cluster || local ? "yes" : "no", reason};
  }
  if (cluster && local) return {"yes", judged.cluster};
  if (cluster) return {"policy Cluster", judged.local};
  if (local) return {"policy Local", judged.cluster};
  return {"no", judged.cluster};
}

std::string endpointText(const Judged& judged) {
  if (!judged.endpoint->address) return "(none)";
  if (judged.port == 0) return judged.endpoint->address->text();
  return textOf(Backend{*judged.endpoint->address, judged.port, false});
}

json endpointOf(const Model& model, const std::vector<Key>& slices, const Judged& judged) {
  const Use use = useOf(judged);
  const auto& endpoint = *judged.endpoint;
  return {{"endpoint", endpointText(judged)},
          {"node", endpoint.node},
          {"slice", slices[judged.slice].name},
          {"ready", endpoint.ready},
          {"serving", endpoint.serving},
          {"terminating", endpoint.terminating},
          {"used", use.used},
          {"why", textOf(use.why, endpoint, model.node())}};
}

/// A slice with another port's numbers says nothing of an endpoint that this port has elsewhere.
json endpointsOf(const Model& model, const Key& key, const std::vector<Judged>& endpoints) {
  std::set<IpAddress> withPort;
  for (const Judged& judged : endpoints) {
    if (judged.port != 0 && judged.endpoint->address) withPort.insert(*judged.endpoint->address);
  }
  const auto slices = model.sliceKeysOf(key);
  std::vector<std::tuple<std::string, bool, json>> rows;  // of duplicates the used one first
  for (const Judged& judged : endpoints) {
    if (judged.port == 0 && judged.endpoint->address &&
        withPort.count(*judged.endpoint->address) != 0)
      continue;
    const bool used = isUsed(judged.cluster) || isUsed(judged.local);
    rows.emplace_back(endpointText(judged), !used, endpointOf(model, slices, judged));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
  });
  json list = json::array();
  for (auto& [place, unused, row] : rows)
    list.push_back(std::move(row));
  return list;
}

json portOf(const Model& model, const Key& key, const Explanation& one) {
  json frontends = json::array(), sources = json::array();
  for (const Frontend& frontend : one.plan.frontends)
    frontends.push_back(frontendOf(model, key, one.plan, frontend));
  for (const IpPrefix& range : one.plan.sources)
    sources.push_back(range.text());
  return {{"name", one.plan.name},
          {"protocol", objects::textOf(one.plan.protocol)},
          {"family", familyText(one.plan.family)},
          {"affinitySeconds", one.plan.affinity.count()},
          {"sourceRanges", std::move(sources)},
          {"frontends", std::move(frontends)},
          {"endpoints", endpointsOf(model, key, one.endpoints)}};
}

/// Endpoints of a family in which the Service has no cluster IP belong to no port of it.
void addIdleFamilies(const Model& model, const Key& key, const std::vector<Explanation>& ports,
                     json& problems) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (std::any_of(ports.begin(), ports.end(),
                    [&](const Explanation& one) { return one.plan.family == family; }))
      continue;
    const std::size_t idle = countKnown(model.slicesOf(key), family);
    if (idle != 0)
      problems.push_back(counted(idle, "endpoint") + " with " + familyText(family) +
                         " not used: the Service has no " + familyText(family) + " cluster IP");
  }
}

bool isInForce(const Model& model, const Key& key, const std::vector<Explanation>& ports) {
  const auto* plans = model.find(key);
  if (plans == nullptr) return ports.empty();
  return std::equal(ports.begin(), ports.end(), plans->begin(), plans->end(),
                    [](const Explanation& one, const PortPlan& plan) { return one.plan == plan; });
}

json describe(const Model& model, const Problems& problems, const Key& key,
              const Service* service) {
  json wrong = json::array(), ports = json::array();
  for (auto [at, end] = problems.equal_range(key); at != end; ++at)
    wrong.push_back(at->second);
  if (service == nullptr) {
    wrong.push_back("the source has no usable object for it");
  } else if (service->foreign || service->clusterIps.empty()) {
    wrong.push_back("not for this proxy: headless, an ExternalName, or labelled for another one");
  } else {
    const auto explanations = explanationsOf(model, key, *service);
    for (const Explanation& one : explanations)
      ports.push_back(portOf(model, key, one));
    addIdleFamilies(model, key, explanations, wrong);
    if (!isInForce(model, key, explanations))
      wrong.push_back("its last change is not in force yet");
  }
  return {{"service", key.text()}, {"problems", std::move(wrong)}, {"ports", std::move(ports)}};
}

}  // namespace

json listServices(const Model& model, const Problems& problems) {
  json rows = json::array(), wrong = json::array();
  for (const auto& [key, ports] : model.plans()) {
    const Slices slices = model.slicesOf(key);
    for (const PortPlan& port : ports) {
      const std::size_t known = countKnown(slices, port.family);
      for (const Frontend& frontend : port.frontends)
        rows.push_back(rowOf(model, key, port, frontend, known));
    }
  }
  for (const auto& [key, what] : problems)
    wrong.push_back({{"service", key.text()}, {"what", what}});
  return {{"services", std::move(rows)}, {"problems", std::move(wrong)}};
}

Result<json> describeServices(const Model& model, const Problems& problems,
                              const std::string& name) {
  const bool qualified = name.find('/') != std::string::npos;
  std::map<Key, const Service*> found;
  const auto consider = [&](const Key& key, const Service* service) {
    if ((qualified ? key.text() : key.name) == name) found.emplace(key, service);
  };
  for (const auto& [key, service] : model.services())
    consider(key, service);
  for (const auto& [key, what] : problems)
    consider(key, nullptr);
  if (found.empty())
    return makeError(Errc::kNotFound, "there is no Service " + name, "culvertctl services");
  json all = json::array();
  for (const auto& [key, service] : found)
    all.push_back(describe(model, problems, key, service));
  return json{{"services", std::move(all)}};
}

}  // namespace culvert::services
