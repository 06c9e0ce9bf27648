#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cni/types.h"
#include "cni/version.h"
#include "plugins/multi/selection.h"

// A network as libcni knows it, and one container's attachment to it.
namespace culvert::plugins::multi {

/// A network configuration list (CNI 1.1.0 section 1).
struct Network {
  std::string name;
  cni::Version version = cni::kNewest;
  bool disableCheck = false, disableGc = false;
  std::vector<nlohmann::json> plugins;  // objects with a "type", at least one
};

/// What a list may leave out.
struct NetworkDefaults {
  std::string name;  // a NetworkAttachmentDefinition's own
  cni::Version version = cni::kNewest;
};

/// A list, or a single plugin's configuration as a list of one. kInvalidConfig names what is wrong
/// below `where`. `multi` itself is refused as a plugin: it would call itself without end.
Result<Network> parseNetwork(const nlohmann::json& config, const NetworkDefaults& defaults,
                             const std::string& where);
Result<Network> parseNetworkText(std::string_view text, const NetworkDefaults& defaults,
                                 const std::string& where);

/// One interface of the container: everything that ADD, DEL, CHECK and GC of its network need.
struct Attachment {
  std::string name;  // for people and the status: "namespace/name", or the network's name
  std::string ifName;
  std::string args;  // CNI_ARGS for its plugins
  bool isDefault = false;
  std::optional<std::vector<IpAddress>> defaultRoute;  // as in Selection
  Network network;  // plugins complete but for prevResult: name, runtimeConfig, args merged in
  std::optional<cni::AddResult> result;  // once added
};

/// Fills in each plugin's name, cniVersion, runtimeConfig (what its capabilities take) and
/// args.cni. kInvalidConfig if something is selected that no plugin of the network declares a
/// capability for.
Result<void> applySelection(Network& network, const Selection& selection, const std::string& where);

/// The runtime's own runtimeConfig and args, for the cluster-wide network alone (section 7.5).
void applyRuntime(Network& network, const nlohmann::json& runtimeConfig,
                  const nlohmann::json& args);

/// CNI_ARGS without what addresses one interface (MAC, IP, GATEWAY): that is the cluster-wide
/// network's.
std::string argsForOthers(const std::string& args);

/// For the record on disk, and back. The latter gives kDecode if it is no attachment.
nlohmann::json toJson(const Attachment& attachment);
Result<Attachment> attachmentFrom(const nlohmann::json& object);

}  // namespace culvert::plugins::multi
