#include "plugins/multi/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "plugins/multi/device.h"

namespace culvert::plugins::multi {
namespace {

constexpr const char* kNetworksAnnotation = "annotation k8s.v1.cni.cncf.io/networks";
constexpr const char* kDefaultAnnotation = "annotation v1.multus-cni.io/default-network";

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

class Planner {
 public:
  Planner(const cni::Request& request, const MultiConfig& config, const Folder& folder,
          Source& source)
      : request_(request), config_(config), folder_(folder), source_(source) {}

  Result<Plan> plan() {
    reference_ = TRY(readPodReference(request_.args));
    TRY(findPod());
    TRY(addDefaults(false));
    TRY(addSelected());
    TRY(refuseContradictions(plan_.attachments));
    return std::move(plan_);
  }

  Result<std::vector<Attachment>> planWithoutPod(bool clusterOnly) {
    TRY(addDefaults(clusterOnly));
    if (!clusterOnly) TRY(addAll(config_.networks, kDefaultNamespace, "networks"));
    return std::move(plan_.attachments);
  }

 private:
  Result<void> findPod();
  Result<void> addDefaults(bool clusterOnly);
  Result<void> addSelected();
  Result<void> addAll(const std::vector<Selection>& selections, const std::string& ns,
                      const std::string& where);
  Result<void> addReference(const std::string& text);
  Result<void> addCluster();
  Result<void> add(std::string name, Network network, const Selection& selection,
                   const std::string& where);
  Result<void> refuseForeignNamespace(const std::string& ns, const std::string& where) const;
  Result<Network> load(Selection& selection, bool allowFiles, const std::string& where);

  const cni::Request& request_;
  const MultiConfig& config_;
  const Folder& folder_;
  Source& source_;
  PodReference reference_;
  Devices devices_;
  Plan plan_;
};

Result<void> Planner::findPod() {
  if (reference_.name.empty()) return {};
  plan_.pod = TRY(source_.findPod(reference_.ns, reference_.name));
  if (!plan_.pod && source_.allowsFiles()) return {};
  const std::string name = "pod " + reference_.ns + "/" + reference_.name;
  if (!plan_.pod)
    return makeError(Errc::kUnknownContainer, name + ": the API server knows no such pod");
  const bool another = !reference_.uid.empty() && !plan_.pod->uid.empty() && !plan_.pod->isStatic &&
                       reference_.uid != plan_.pod->uid;
  if (!another) return {};
  return makeError(Errc::kUnknownContainer, name + ": its uid is " + plan_.pod->uid + ", not " +
                                                reference_.uid + ": it was replaced by another");
}

Result<void> Planner::refuseForeignNamespace(const std::string& ns,
                                             const std::string& where) const {
  if (!config_.namespaceIsolation || contains(config_.globalNamespaces, ns)) return {};
  const std::string own = plan_.pod ? plan_.pod->ns : kDefaultNamespace;
  if (ns == own) return {};
  return makeError(Errc::kInvalidConfig, where + ": namespaceIsolation: a pod in namespace '" +
                                             own + "' may not use networks of '" + ns + "'");
}

/// The network of a selection whose namespace is set.
Result<Network> Planner::load(Selection& selection, bool allowFiles, const std::string& where) {
  const std::string name = selection.ns + "/" + selection.name;
  const auto definition = TRY(source_.findDefinition(selection.ns, selection.name).context(where));
  if (definition && !definition->resourceName.empty() && plan_.pod)
    selection.device = TRY(devices_.next(definition->resourceName, *plan_.pod).context(where));
  NetworkDefaults defaults = config_.defaults;
  defaults.name = selection.name;
  if (definition && !definition->config.empty())
    return parseNetworkText(definition->config, defaults, "network " + name + " (spec.config)");
  if (definition || allowFiles) {
    auto network = TRY(folder_.findNetwork(selection.name, defaults));
    if (network) return std::move(*network);
  }
  return makeError(Errc::kInvalidConfig,
                   where + ": there is no network '" + name + "'" +
                       (definition ? ": its definition has no spec.config, and " + config_.confDir +
                                         " no configuration of that name"
                                   : ""),
                   config_.confDir + folder_.unreadable());
}

Result<void> Planner::add(std::string name, Network network, const Selection& selection,
                          const std::string& where) {
  const std::size_t position = plan_.attachments.size();
  TRY(applySelection(network, selection, where));
  Attachment attachment;
  attachment.name = std::move(name);
  attachment.isDefault = position == 0;
  attachment.ifName =
      selection.ifName.empty() ? "net" + std::to_string(position) : selection.ifName;
  attachment.args = argsForOthers(request_.args);
  attachment.defaultRoute = selection.defaultRoute;
  if (attachment.isDefault) {
    attachment.ifName = request_.ifName;
    attachment.args = request_.args;
    applyRuntime(network, config_.runtimeConfig, config_.args);
  }
  attachment.network = std::move(network);
  plan_.attachments.push_back(std::move(attachment));
  return {};
}

/// clusterNetwork or one of defaultNetworks: a path, a NetworkAttachmentDefinition or a conflist.
Result<void> Planner::addReference(const std::string& text) {
  if (text.starts_with('/')) {
    Network network = TRY(loadNetworkFile(text, config_.defaults));
    std::string name = network.name;
    return add(std::move(name), std::move(network), {}, text);
  }
  Selection selection = TRY(parseReference(text, text));
  const bool qualified = !selection.ns.empty();
  if (!qualified) selection.ns = config_.multusNamespace;
  Network network = TRY(load(selection, !qualified || source_.allowsFiles(), text));
  return add(selection.ns + "/" + selection.name, std::move(network), selection, text);
}

Result<void> Planner::addCluster() {
  if (!plan_.pod || !plan_.pod->defaultNetwork) return addReference(config_.clusterNetwork);
  std::vector<Selection> selections =
      TRY(parseSelections(*plan_.pod->defaultNetwork, kDefaultAnnotation));
  if (selections.size() != 1)
    return makeError(Errc::kInvalidConfig,
                     std::string(kDefaultAnnotation) + ": does not name exactly one network");
  Selection& selection = selections.front();
  if (selection.ns.empty()) selection.ns = config_.multusNamespace;
  if (selection.ns != config_.multusNamespace)
    TRY(refuseForeignNamespace(selection.ns, kDefaultAnnotation));
  Network network = TRY(load(selection, source_.allowsFiles(), kDefaultAnnotation));
  return add(selection.ns + "/" + selection.name, std::move(network), selection,
             kDefaultAnnotation);
}

Result<void> Planner::addDefaults(bool clusterOnly) {
  const bool annotated = plan_.pod && plan_.pod->defaultNetwork;
  if (annotated || !config_.clusterNetwork.empty()) {
    TRY(addCluster());
  } else {
    TRY(add(config_.delegates.front().name, config_.delegates.front(), {}, "delegates[0]"));
  }
  if (clusterOnly) return {};
  for (std::size_t i = 1; i < config_.delegates.size(); ++i) {
    TRY(add(config_.delegates[i].name, config_.delegates[i], {},
            "delegates[" + std::to_string(i) + "]"));
  }
  if (plan_.pod && contains(config_.systemNamespaces, plan_.pod->ns)) return {};
  for (const std::string& name : config_.defaultNetworks)
    TRY(addReference(name));
  return {};
}

Result<void> Planner::addAll(const std::vector<Selection>& selections, const std::string& ns,
                             const std::string& where) {
  for (std::size_t i = 0; i < selections.size(); ++i) {
    Selection selection = selections[i];
    const std::string place = where + "[" + std::to_string(i) + "]";
    if (selection.ns.empty()) selection.ns = ns;
    TRY(refuseForeignNamespace(selection.ns, place));
    Network network = TRY(load(selection, source_.allowsFiles(), place));
    TRY(add(selection.ns + "/" + selection.name, std::move(network), selection, place));
  }
  return {};
}

Result<void> Planner::addSelected() {
  if (!plan_.pod) return addAll(config_.networks, kDefaultNamespace, "networks");
  if (!plan_.pod->networks) return addAll(config_.networks, plan_.pod->ns, "networks");
  return addAll(TRY(parseSelections(*plan_.pod->networks, kNetworksAnnotation)), plan_.pod->ns,
                kNetworksAnnotation);
}

}  // namespace

Result<PodReference> readPodReference(const std::string& args) {
  PodReference reference{.ns = kDefaultNamespace, .name = {}, .uid = {}};
  std::size_t start = 0;
  while (start < args.size()) {
    const std::size_t end = std::min(args.find(';', start), args.size());
    const std::string pair = args.substr(start, end - start);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string key = pair.substr(0, equals);
    const std::string value = pair.substr(std::min(equals + 1, pair.size()));
    if (key == "K8S_POD_NAME") reference.name = value;
    if (key == "K8S_POD_NAMESPACE" && !value.empty()) reference.ns = value;
    if (key == "K8S_POD_UID") reference.uid = value;
    start = end + 1;
  }
  if (!isNamespaceName(reference.ns))
    return makeError(Errc::kInvalidEnvironment,
                     "CNI_ARGS: K8S_POD_NAMESPACE '" + reference.ns + "' is no namespace's name");
  if (!reference.name.empty() && !isNetworkName(reference.name))
    return makeError(Errc::kInvalidEnvironment,
                     "CNI_ARGS: K8S_POD_NAME '" + reference.name + "' is no pod's name");
  return reference;
}

Result<void> refuseContradictions(const std::vector<Attachment>& attachments) {
  std::set<std::string> names;
  std::map<Family, std::string> claims;
  for (const Attachment& attachment : attachments) {
    if (!names.insert(attachment.ifName).second)
      return makeError(Errc::kInvalidConfig, "network " + attachment.name + ": interface '" +
                                                 attachment.ifName +
                                                 "' is another network's of the same container");
    if (!attachment.defaultRoute) continue;
    for (const Family family : {Family::kV4, Family::kV6}) {
      const auto& gateways = *attachment.defaultRoute;
      const bool claimed = gateways.empty() || std::any_of(gateways.begin(), gateways.end(),
                                                           [&](const IpAddress& gateway) {
                                                             return gateway.family() == family;
                                                           });
      if (!claimed || claims.emplace(family, attachment.name).second) continue;
      return makeError(Errc::kInvalidConfig, "network " + attachment.name +
                                                 ": default-route: network " + claims[family] +
                                                 " has it already");
    }
  }
  return {};
}

Result<Plan> makePlan(const cni::Request& request, const MultiConfig& config, const Folder& folder,
                      Source& source) {
  return Planner(request, config, folder, source).plan();
}

Result<std::vector<Attachment>> planWithoutPod(const cni::Request& request,
                                               const MultiConfig& config, const Folder& folder,
                                               bool clusterOnly) {
  FolderSource files(folder);
  return Planner(request, config, folder, files).planWithoutPod(clusterOnly);
}

}  // namespace culvert::plugins::multi
