#include "plugins/multi/multi.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>

#include "cni/execute.h"
#include "cni/rollback.h"
#include "plugins/multi/api_server.h"
#include "plugins/multi/chain.h"
#include "plugins/multi/default_route.h"
#include "plugins/multi/journal.h"
#include "plugins/multi/plan.h"
#include "plugins/multi/status.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace multi {
namespace {

using Stage = std::vector<std::size_t>;  // indices of attachments that may run side by side

Target targetOf(const cni::Request& request, const std::string& binDir) {
  Target target{.containerId = request.containerId,
                .netnsPath = request.netnsPath,
                .pluginPath = request.pluginPath};
  if (!binDir.empty()) target.pluginPath.insert(target.pluginPath.begin(), binDir);
  return target;
}

/// Neighbours in the order that are independent share a stage. For ADD the first attachment, the
/// cluster-wide network, has its own: it comes before all others (standard 1.3, section 6.2).
std::vector<Stage> stagesOf(const std::vector<Attachment>& attachments, const Target& target,
                            bool parallel, bool clusterFirst) {
  std::vector<Stage> stages;
  bool open = false;
  for (std::size_t i = 0; i < attachments.size(); ++i) {
    const bool free = parallel && isIndependent(attachments[i].network, target);
    const bool alone = !free || (clusterFirst && i == 0);
    if (alone || !open) stages.emplace_back();
    stages.back().push_back(i);
    open = !alone;
  }
  return stages;
}

/// All outcomes of a stage as one.
Result<void> runStage(const Stage& stage, const std::function<Result<void>(std::size_t)>& work) {
  FirstError outcome;
  for (Result<void>& one :
       forEach(stage.size(), stage.size() > 1, [&](std::size_t i) { return work(stage[i]); }))
    outcome.note(std::move(one));
  return std::move(outcome).take();
}

/// DEL of all, dependents before what they stand on; tries every one.
Result<void> removeAttachments(const std::vector<Attachment>& attachments, const Target& target) {
  FirstError outcome;
  std::vector<Stage> stages = stagesOf(attachments, target, true, false);
  std::reverse(stages.begin(), stages.end());
  for (const Stage& stage : stages) {
    outcome.note(
        runStage(stage, [&](std::size_t i) { return removeNetwork(attachments[i], target); }));
  }
  return std::move(outcome).take();
}

/// Undoes everything an entry tells of, and then forgets it.
Result<void> removeEntry(const Journal& journal, const Entry& entry, const Target& target) {
  TRY(removeAttachments(entry.attachments, target));
  TRY(removeStatusFile(entry.containerId, entry.ifName));
  return journal.remove(entry);
}

Result<void> refuseUnready(const MultiConfig& config, Errc code) {
  const std::string& file = config.readinessIndicatorFile;
  if (file.empty() || ::access(file.c_str(), F_OK) == 0) return {};
  return makeError(code, "the cluster-wide network is not ready: there is no " + file,
                   "readinessindicatorfile");
}

/// A second ADD would tear the first one down when it fails. What an earlier boot left behind is no
/// live attachment; it is removed.
Result<void> refuseRecorded(const Journal& journal, const cni::Request& request,
                            const std::string& bootId) {
  const auto entry = TRY(journal.find(request).context("this attachment was added before"));
  if (!entry) return {};
  if (entry->bootId == bootId) {
    return makeError(Errc::kAlreadyExists,
                     "container " + request.containerId + " is attached already",
                     "this attachment was added before; DEL it first");
  }
  Target target = targetOf(request, entry->binDir);
  target.netnsPath.clear();
  return removeEntry(journal, *entry, target).context("remove what an earlier boot left");
}

Result<void> refuseExistingInterfaces(const std::vector<Attachment>& attachments,
                                      Sandbox& sandbox) {
  const std::vector<netlink::Link> links = TRY(sandbox.rtnl.listLinks());
  for (const Attachment& attachment : attachments) {
    const bool taken = std::any_of(links.begin(), links.end(), [&](const netlink::Link& link) {
      return link.name == attachment.ifName;
    });
    if (!taken) continue;
    return makeError(Errc::kAlreadyExists, "network " + attachment.name +
                                               ": the container has an '" + attachment.ifName +
                                               "' already");
  }
  return {};
}

/// The plugins that a configuration names: itself, and the one for addresses.
std::vector<std::string> typesIn(const nlohmann::json& plugin) {
  std::vector<std::string> types{plugin.value("type", "")};
  const auto ipam = plugin.find("ipam");
  if (ipam == plugin.end() || !ipam->is_object()) return types;
  const auto type = ipam->find("type");
  const bool named = type != ipam->end() && type->is_string() && *type != "";
  if (named) types.push_back(type->get<std::string>());
  return types;
}

Result<void> refuseMissingPlugins(const std::vector<Attachment>& attachments,
                                  const cni::Request& request, const Target& target) {
  cni::Request search = request;
  search.pluginPath = target.pluginPath;
  for (const Attachment& attachment : attachments) {
    for (const nlohmann::json& plugin : attachment.network.plugins) {
      for (const std::string& type : typesIn(plugin))
        TRY(cni::findPlugin(type, search).context("network " + attachment.name));
    }
  }
  return {};
}

Result<std::unique_ptr<Source>> openSource(const MultiConfig& config, const Folder& folder) {
  std::unique_ptr<Source> source = std::make_unique<FolderSource>(folder);
  if (config.kubeconfig.empty()) return source;
  source = std::make_unique<ApiServer>(
      TRY(loadKubeconfig(config.kubeconfig, config.apiServer).context("kubeconfig")),
      config.apiTimeout);
  return source;
}

Entry entryFor(const cni::Request& request, const MultiConfig& config, const std::string& bootId,
               std::vector<Attachment> attachments) {
  return {.network = request.network,
          .containerId = request.containerId,
          .ifName = request.ifName,
          .netnsPath = request.netnsPath,
          .bootId = bootId,
          .binDir = config.binDir,
          .attachments = std::move(attachments),
          .file = {}};
}

/// `begun` is for each attachment how many of its plugins a failure must undo.
Result<void> addAll(std::vector<Attachment>& attachments, const cni::Request& request,
                    const Target& target, bool parallel, std::vector<std::size_t>& begun) {
  const auto addOne = [&](std::size_t i) -> Result<void> {
    Attachment& attachment = attachments[i];
    attachment.result = TRY(addNetwork(
        attachment, target, attachment.isDefault ? request.prevResult : std::nullopt, begun[i]));
    return {};
  };
  for (const Stage& stage : stagesOf(attachments, target, parallel, true))
    TRY(runStage(stage, addOne));
  return {};
}

/// Undoes an ADD that failed. What cannot be undone now stays recorded, for DEL and GC.
Result<void> undo(const Journal& journal, Entry entry, const Target& target,
                  const std::vector<std::size_t>& begun) {
  for (std::size_t i = 0; i < begun.size(); ++i)
    entry.attachments[i].network.plugins.resize(begun[i]);
  return removeEntry(journal, entry, target);
}

/// Where the status can be read: the record, a file, the pod.
Result<void> publish(const cni::Request& request, const Journal& journal, const Entry& entry,
                     const Plan& plan, Source& source) {
  TRY(journal.write(entry));
  const nlohmann::json status = networkStatus(entry.attachments);
  TRY(writeStatusFile(request, status));
  if (!plan.pod) return {};
  // A pod that is gone meanwhile has nobody left to read it; its DEL will come.
  return ignoreNotFound(source.writeStatus(*plan.pod, status.dump()));
}

Result<cni::AddResult> add(const cni::Request& request) {
  // Everything that can be refused is refused before the first side effect.
  const MultiConfig config = TRY(parseMultiConfig(request));
  TRY(refuseUnready(config, Errc::kTryAgain));
  const Journal journal(config.cniDir);
  const std::string bootId = TRY(readBootId());
  TRY(refuseRecorded(journal, request, bootId));
  const Folder folder = TRY(Folder::load(config.confDir).context("confDir"));
  const auto source = TRY(openSource(config, folder));
  const Plan plan = TRY(makePlan(request, config, folder, *source));
  const Target target = targetOf(request, config.binDir);
  TRY(refuseMissingPlugins(plan.attachments, request, target));
  Sandbox sandbox = TRY(Sandbox::open(request));
  TRY(refuseExistingInterfaces(plan.attachments, sandbox));

  Entry entry = entryFor(request, config, bootId, plan.attachments);
  std::vector<std::size_t> begun(entry.attachments.size());
  cni::Rollback rollback;
  rollback.onFailure("remove networks", [&] { return undo(journal, entry, target, begun); });
  TRY(journal.write(entry));
  TRY(addAll(entry.attachments, request, target, config.parallel, begun));
  TRY(applyDefaultRoutes(entry.attachments, sandbox));
  TRY(publish(request, journal, entry, plan, *source));
  rollback.dismiss();
  return *entry.attachments.front().result;
}

/// What ADD would have done, as far as it can be told without its record: the networks that every
/// container gets.
std::vector<Attachment> guessAttachments(const cni::Request& request) {
  const auto config = parseMultiConfig(request);
  if (!config) return {};
  const auto folder = Folder::load(config->confDir);
  if (!folder) return {};
  return planWithoutPod(request, *config, *folder, false).value_or(std::vector<Attachment>{});
}

Result<void> del(const cni::Request& request) {
  const MultiConfig config = parseForDel(request);
  const Journal journal(config.cniDir);
  const Result<std::optional<Entry>> entry = journal.find(request);
  if (entry && *entry) return removeEntry(journal, **entry, targetOf(request, (*entry)->binDir));
  // Without a record, or with a damaged one, there can still be what outlived it.
  TRY(removeAttachments(guessAttachments(request), targetOf(request, config.binDir)));
  TRY(removeStatusFile(request.containerId, request.ifName));
  return journal.remove(request);
}

Result<void> check(const cni::Request& request) {
  const MultiConfig config = TRY(parseMultiConfig(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  std::optional<Entry> entry = TRY(Journal(config.cniDir).find(request));
  if (!entry)
    return makeError(Errc::kCheckFailed, "there is no record of container " + request.containerId);
  for (Attachment& attachment : entry->attachments) {
    if (!attachment.result)
      return makeError(Errc::kCheckFailed,
                       "network " + attachment.name + ": its ADD did not finish");
    if (attachment.isDefault) attachment.result = result;  // with what followed in the outer list
  }
  const Target target = targetOf(request, entry->binDir);
  FirstError outcome;
  for (const Stage& stage : stagesOf(entry->attachments, target, config.parallel, false)) {
    outcome.note(runStage(
        stage, [&](std::size_t i) { return checkNetwork(entry->attachments[i], target); }));
  }
  return std::move(outcome).take();
}

bool isValid(const Entry& entry, const std::vector<cni::Attachment>& valid) {
  return std::find(valid.begin(), valid.end(), cni::Attachment{entry.containerId, entry.ifName}) !=
         valid.end();
}

/// GC's DEL of one entry. Its namespace's path may be another container's by now, and those links
/// are gone with the namespace or found by their owner; so none is named.
Result<void> removeStale(const Journal& journal, const Entry& entry, const cni::Request& request) {
  Target target = targetOf(request, entry.binDir);
  target.containerId = entry.containerId;
  return removeEntry(journal, entry, target)
      .context("container " + entry.containerId + ", interface " + entry.ifName);
}

/// By network, who is attached to it: everything recorded that is not stale, and for the
/// cluster-wide networks also what the runtime knows from before `multi`.
using Users = std::map<std::string, std::vector<cni::Attachment>>;

Users usersOf(const std::vector<Entry>& live, const std::vector<Attachment>& defaults,
              const std::vector<cni::Attachment>& valid) {
  Users users;
  for (const Entry& entry : live) {
    for (const Attachment& attachment : entry.attachments)
      users[attachment.network.name].push_back({entry.containerId, attachment.ifName});
  }
  if (defaults.empty()) return users;
  auto& cluster = users[defaults.front().network.name];
  cluster.insert(cluster.end(), valid.begin(), valid.end());
  return users;
}

/// Each configuration once: what differs only in one container's wishes is the same for GC.
class Networks {
 public:
  void add(Network network) {
    for (nlohmann::json& plugin : network.plugins) {
      for (const char* key : {"runtimeConfig", "args", "deviceID", "pciBusID"})
        plugin.erase(key);
    }
    std::string key = network.name + nlohmann::json(network.plugins).dump();
    known_.emplace(std::move(key), std::move(network));
  }
  Result<void> collect(const Target& target, const Users& users) const {
    FirstError outcome;
    for (const auto& [key, network] : known_) {
      const auto valid = users.find(network.name);
      outcome.note(collectNetwork(
          network, target, valid == users.end() ? std::vector<cni::Attachment>{} : valid->second));
    }
    return std::move(outcome).take();
  }

 private:
  std::map<std::string, Network> known_;
};

/// What a configuration alone says goes to a plugin like what a selection completed.
Network completed(Network network) {
  static_cast<void>(applySelection(network, {}, ""));
  return network;
}

Result<void> gc(const cni::Request& request) {
  const MultiConfig config = TRY(parseMultiConfig(request));
  if (!request.validAttachments) return {};
  const Folder folder = TRY(Folder::load(config.confDir).context("confDir"));
  const Journal journal(config.cniDir);
  const auto defaults =
      planWithoutPod(request, config, folder, false).value_or(std::vector<Attachment>{});
  FirstError outcome;
  outcome.note(journal.removeUnfinished());
  Networks networks;
  std::vector<Entry> live;
  for (Entry& entry : TRY(journal.list())) {
    const bool ours = entry.network == request.network;
    const bool stale = ours && !isValid(entry, *request.validAttachments);
    for (const Attachment& attachment : entry.attachments)
      if (ours) networks.add(attachment.network);
    if (stale) {
      outcome.note(removeStale(journal, entry, request));
    } else {
      live.push_back(std::move(entry));
    }
  }
  for (const Attachment& attachment : defaults)
    networks.add(attachment.network);
  for (Network& network : folder.listNetworks(config.defaults))
    networks.add(completed(std::move(network)));
  outcome.note(networks.collect(targetOf(request, config.binDir),
                                usersOf(live, defaults, *request.validAttachments)));
  return std::move(outcome).take();
}

Result<void> asUnavailable(Result<void> outcome) {
  if (outcome) return {};
  Error error = std::move(outcome).error();
  error.code = Errc::kNotAvailable;
  return error;
}

/// Whether the cluster-wide network is known to the API server alone, which is not asked here:
/// runtimes want a status every few seconds.
bool isDefinedRemotely(const MultiConfig& config, const Folder& folder) {
  const std::string& name = config.clusterNetwork;
  if (config.kubeconfig.empty() || name.empty() || name.front() == '/') return false;
  const auto found = folder.findNetwork(name, config.defaults);
  return found && !*found;
}

Result<void> status(const cni::Request& request) {
  const MultiConfig config = TRY(parseMultiConfig(request));
  TRY(refuseUnready(config, Errc::kNotAvailable));
  const Folder folder = TRY(Folder::load(config.confDir).context("confDir"));
  const auto source = openSource(config, folder);
  if (!source) return asUnavailable(source.error());
  if (isDefinedRemotely(config, folder)) return {};
  const bool clusterOnly = !config.kubeconfig.empty();
  const auto attachments = planWithoutPod(request, config, folder, clusterOnly);
  if (!attachments) return asUnavailable(attachments.error());
  const Target target = targetOf(request, config.binDir);
  for (const Attachment& attachment : *attachments)
    TRY(askStatus(attachment.network, target));
  return {};
}

}  // namespace
}  // namespace multi

const cni::Plugin kMulti{.name = "multi",
                         .oldest = cni::Version::k010,
                         .add = multi::add,
                         .del = multi::del,
                         .check = multi::check,
                         .gc = multi::gc,
                         .status = multi::status};

}  // namespace culvert::plugins
