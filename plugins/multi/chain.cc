#include "plugins/multi/chain.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <thread>

#include "cni/dispatcher.h"
#include "cni/environment.h"
#include "cni/execute.h"
#include "cni/result_json.h"
#include "plugins/registry.h"

namespace culvert::plugins::multi {
namespace {

using cni::Command;
using cni::Plugin;
using cni::Request;
using nlohmann::json;

/// A plugin of a network where CNI_PATH has it.
struct Program {
  std::string path;
  const Plugin* own = nullptr;  // null: another's, to be executed
};

Result<Program> findProgram(const json& plugin, const Request& request) {
  const std::string type = plugin.value("type", "");
  Program program;
  program.path = TRY(cni::findPlugin(type, request));
  if (cni::isThisExecutable(program.path)) program.own = findPlugin(type);
  return program;
}

Request requestFor(Command command, const Target& target) {
  Request request;
  request.command = command;
  request.pluginPath = target.pluginPath;
  return request;
}

Request requestFor(Command command, const Attachment& attachment, const Target& target) {
  Request request = requestFor(command, target);
  request.containerId = target.containerId;
  request.netnsPath = target.netnsPath;
  request.ifName = attachment.ifName;
  request.args = attachment.args;
  return request;
}

Result<json> resultJson(const cni::AddResult& result, cni::Version version) {
  return json::parse(TRY(cni::renderResult(result, version)));
}

/// The plugin's configuration as it goes to its stdin.
Result<std::string> render(json plugin, const Network& network,
                           const std::optional<cni::AddResult>& previous) {
  if (previous) plugin["prevResult"] = TRY(resultJson(*previous, network.version));
  return plugin.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Every verb but ADD.
Result<void> callOwn(const Plugin& plugin, const Request& request) {
  switch (request.command) {
    case Command::kDel:
      return plugin.del(request);
    case Command::kCheck:
      return plugin.check(request);
    case Command::kGc:
      return plugin.gc(request);
    case Command::kStatus:
      return plugin.status(request);
    case Command::kAdd:
    case Command::kVersion:
      break;
  }
  return {};
}

std::string doing(const Network& network, const json& plugin) {
  return "network '" + network.name + "': " + plugin.value("type", "");
}

Result<cni::AddResult> addOne(const json& plugin, const Network& network, Request request,
                              const std::optional<cni::AddResult>& previous) {
  const Program program = TRY(findProgram(plugin, request));
  std::string config = TRY(render(plugin, network, previous));
  if (program.own == nullptr) {
    request.rawConfig = std::move(config);
    const std::string output = TRY(cni::executePlugin(program.path, Command::kAdd, request));
    return cni::parseDelegateResult(output, network.version);
  }
  TRY(cni::parseConfig(std::move(config), *program.own, request));
  return program.own->add(request);
}

Result<void> callOne(const json& plugin, const Network& network, Request request,
                     const std::optional<cni::AddResult>& previous) {
  const Program program = TRY(findProgram(plugin, request));
  std::string config = TRY(render(plugin, network, previous));
  if (program.own == nullptr) {
    request.rawConfig = std::move(config);
    TRY(cni::executePlugin(program.path, request.command, request));
    return {};
  }
  TRY(cni::parseConfig(std::move(config), *program.own, request));
  return callOwn(*program.own, request);
}

/// libcni hands DEL the result since 0.4.0.
std::optional<cni::AddResult> resultForDel(const Attachment& attachment) {
  if (attachment.network.version < cni::Version::k040) return std::nullopt;
  return attachment.result;
}

json withValidAttachments(json plugin, const std::vector<cni::Attachment>& valid) {
  json list = json::array();
  for (const cni::Attachment& attachment : valid)
    list.push_back({{"containerID", attachment.containerId}, {"ifname", attachment.ifName}});
  plugin["cni.dev/attachments"] = list;  // libcni writes the misspelt key as well
  plugin["cni.dev/valid-attachments"] = std::move(list);
  return plugin;
}

bool isOwn(const std::string& type, const Target& target) {
  const Request request = requestFor(Command::kAdd, target);
  const auto path = cni::findPlugin(type, request);
  return path && cni::isThisExecutable(*path) && findPlugin(type) != nullptr;
}

/// They choose what is free in the container: routing tables, a VRF that several may join.
constexpr std::array<std::string_view, 2> kSharing{"sbr", "vrf"};

bool touchesOnlyItsOwn(const json& plugin, const Target& target) {
  const std::string name = plugin.value("type", "");
  if (!isOwn(name, target)) return false;
  if (std::find(kSharing.begin(), kSharing.end(), name) != kSharing.end()) return false;
  const auto master = plugin.find("linkInContainer");  // an interface another network may make
  if (master != plugin.end() && *master != false) return false;
  const auto ipam = plugin.find("ipam");
  if (ipam == plugin.end() || !ipam->is_object() || !ipam->contains("type")) return true;
  const json& type = ipam->at("type");
  return type.is_string() && isOwn(type.get<std::string>(), target);
}

/// False if the system has no thread to spare.
bool startThread(std::vector<std::jthread>& threads, std::function<void()> body) {
  try {
    threads.emplace_back(std::move(body));
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

Result<void> guarded(const std::function<Result<void>(std::size_t)>& work, std::size_t index) {
  try {
    return work(index);
  } catch (const std::exception& e) {
    Error error = makeError(Errc::kForeign, std::string("internal error: ") + e.what());
    error.foreignCode = 999;
    return error;
  }
}

}  // namespace

Result<cni::AddResult> addNetwork(const Attachment& attachment, const Target& target,
                                  const std::optional<cni::AddResult>& previous,
                                  std::size_t& begun) {
  std::optional<cni::AddResult> result = previous;
  for (const json& plugin : attachment.network.plugins) {
    ++begun;
    Result<cni::AddResult> next =
        addOne(plugin, attachment.network, requestFor(Command::kAdd, attachment, target), result);
    if (!next) {
      if (isOwn(plugin.value("type", ""), target)) --begun;
      return std::move(next).error().wrap(doing(attachment.network, plugin));
    }
    result = std::move(*next);
  }
  return *result;
}

Result<void> removeNetwork(const Attachment& attachment, const Target& target) {
  FirstError outcome;
  const auto& plugins = attachment.network.plugins;
  for (auto plugin = plugins.rbegin(); plugin != plugins.rend(); ++plugin) {
    outcome.note(callOne(*plugin, attachment.network, requestFor(Command::kDel, attachment, target),
                         resultForDel(attachment))
                     .context(doing(attachment.network, *plugin)));
  }
  return std::move(outcome).take();
}

Result<void> checkNetwork(const Attachment& attachment, const Target& target) {
  if (attachment.network.disableCheck || attachment.network.version < cni::Version::k040) return {};
  for (const json& plugin : attachment.network.plugins) {
    TRY(callOne(plugin, attachment.network, requestFor(Command::kCheck, attachment, target),
                attachment.result)
            .context(doing(attachment.network, plugin)));
  }
  return {};
}

Result<void> collectNetwork(const Network& network, const Target& target,
                            const std::vector<cni::Attachment>& valid) {
  if (network.disableGc || network.version < cni::Version::k110) return {};
  FirstError outcome;
  for (const json& plugin : network.plugins) {
    outcome.note(
        callOne(withValidAttachments(plugin, valid), network, requestFor(Command::kGc, target), {})
            .context(doing(network, plugin)));
  }
  return std::move(outcome).take();
}

Result<void> askStatus(const Network& network, const Target& target) {
  if (network.version < cni::Version::k110) return {};
  for (const json& plugin : network.plugins) {
    TRY(callOne(plugin, network, requestFor(Command::kStatus, target), {})
            .context(doing(network, plugin)));
  }
  return {};
}

bool isIndependent(const Network& network, const Target& target) {
  return std::all_of(network.plugins.begin(), network.plugins.end(),
                     [&](const json& plugin) { return touchesOnlyItsOwn(plugin, target); });
}

std::vector<Result<void>> forEach(std::size_t count, bool parallel,
                                  const std::function<Result<void>(std::size_t)>& work) {
  std::vector<Result<void>> outcomes(count);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    const bool last = i + 1 == count;  // it needs no thread of its own
    if (!parallel || last || !startThread(threads, [&, i] { outcomes[i] = guarded(work, i); }))
      outcomes[i] = guarded(work, i);
  }
  threads.clear();
  return outcomes;
}

}  // namespace culvert::plugins::multi
