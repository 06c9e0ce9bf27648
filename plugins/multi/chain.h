#pragma once

#include <functional>
#include <vector>

#include "cni/plugin.h"
#include "plugins/multi/network.h"

// One network's plugins, run as libcni runs a list: our own in this process, others executed.
namespace culvert::plugins::multi {

/// Which container is meant, and where plugins are found; of the request that multi serves.
struct Target {
  std::string containerId, netnsPath;
  std::vector<std::string> pluginPath;
};

/// In the list's order, each plugin's result handed to the next, `previous` to the first. A failure
/// names network and plugin. `begun` is how many plugins a failure leaves to be removed: one of
/// ours that failed has undone what it did, another's may not have.
Result<cni::AddResult> addNetwork(const Attachment& attachment, const Target& target,
                                  const std::optional<cni::AddResult>& previous,
                                  std::size_t& begun);
/// In reverse order; tries every plugin and reports all failures.
Result<void> removeNetwork(const Attachment& attachment, const Target& target);
/// With attachment.result as prevResult. Nothing is checked if the list disables it or is too old.
Result<void> checkNetwork(const Attachment& attachment, const Target& target);
/// Nothing happens if the list disables it or is too old.
Result<void> collectNetwork(const Network& network, const Target& target,
                            const std::vector<cni::Attachment>& valid);
Result<void> askStatus(const Network& network, const Target& target);

/// Whether every plugin of the network (and its IPAM plugin) runs in this process and works on
/// nothing but its own interface, so that it may run beside others.
bool isIndependent(const Network& network, const Target& target);

/// Calls `work` for each index in [0, count), all at once if `parallel`; outcomes in order. An
/// exception (a bug) becomes an error.
std::vector<Result<void>> forEach(std::size_t count, bool parallel,
                                  const std::function<Result<void>(std::size_t)>& work);

}  // namespace culvert::plugins::multi
