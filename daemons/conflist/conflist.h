#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "cni/config_reader.h"
#include "daemons/routing/local_network.h"

/// What container runtimes on this node are told: a network configuration list (CNI 1.0.0 section
/// 1), and the plugins' executable where they look for it.
namespace culvert::conflist {

/// The section `cni` of culvertd.yaml.
struct Settings {
  std::string confDir = "/etc/cni/net.d";
  std::string fileName = "10-culvert.conflist";  // runtimes take the first in order of names
  std::string network = "culvert";               // the list's name
  std::string binDir = "/opt/cni/bin";           // empty: nothing is installed
  std::string plugin;                            // culvert-cni; empty: beside this executable
  bool replacePlugins = false;  // also where a file of that name is somebody else's
  bool portmap = true, bandwidth = true;
  std::string podAddresses;  // culvertd's control socket, if pods may ask for addresses; or empty
};

/// Adds every problem to the reader's list.
Settings readSettings(const cni::ConfigReader& section);

/// ptp with host-local on the node's own networks, then portmap and bandwidth. Pure.
nlohmann::json render(const Settings& settings, const routing::LocalNetwork& network);

/// Makes the file what it should be, whole or not at all; nothing is written if it is already.
/// kAlreadyExists if a file is there whose list has another name: it is not ours.
Result<void> ensureFile(const Settings& settings, const nlohmann::json& list);

/// Puts culvert-cni into binDir under its name and those of all plugins (hard links), each replaced
/// in one step, so that a runtime never finds half a file. Returns the names left alone because a
/// file of somebody else is there.
Result<std::vector<std::string>> installPlugins(const Settings& settings);

/// Takes installPlugins() back: culvert-cni in binDir and its other names. It stays if it is what
/// would be installed.
Result<void> removePlugins(const Settings& settings,
                           const std::function<void(const std::string&)>& removed);

/// Removes the file, if it is of our network, and the plugins; `removed` hears of each.
Result<void> cleanUp(const Settings& settings,
                     const std::function<void(const std::string&)>& removed);

}  // namespace culvert::conflist
