#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plugins/multi/network.h"
#include "plugins/multi/source.h"

namespace culvert::plugins::multi {

/// `confDir`: conflists (*.conflist), single configurations (*.conf, *.json) and manifests of pods
/// and NetworkAttachmentDefinitions (*.json, *.yaml, *.yml), in the order of their names. Symbolic
/// links are followed only inside the folder. Files that cannot be read do not hide the others;
/// they are named when something is not found.
class Folder {
 public:
  /// A folder that does not exist is empty.
  static Result<Folder> load(const std::string& path);

  /// The list whose "name" is `name`: lists first, then single configurations.
  Result<std::optional<Network>> findNetwork(const std::string& name,
                                             const NetworkDefaults& defaults) const;
  /// All of them, manifests' own configurations included; those that are broken are left out.
  std::vector<Network> listNetworks(const NetworkDefaults& defaults) const;
  /// The first manifest of that kind and name.
  const nlohmann::json* findManifest(const std::string& kind, const std::string& ns,
                                     const std::string& name) const;
  /// "; not readable: FILE: why", or nothing.
  std::string unreadable() const;

 private:
  struct Document {
    std::string file;
    nlohmann::json content;
  };
  void loadFile(int folder, const std::string& name);

  std::vector<Document> documents_;
  std::vector<std::string> unreadable_;
};

/// The list in one file that the configuration names; of a directory, its first.
Result<Network> loadNetworkFile(const std::string& path, const NetworkDefaults& defaults);

/// The manifests in a folder, for hosts without an API server.
class FolderSource : public Source {
 public:
  explicit FolderSource(const Folder& folder) : folder_(folder) {}
  Result<std::optional<Pod>> findPod(const std::string& ns, const std::string& name) override;
  Result<std::optional<Definition>> findDefinition(const std::string& ns,
                                                   const std::string& name) override;
  bool allowsFiles() const override { return true; }
  Result<void> writeStatus(const Pod&, const std::string&) override { return {}; }

 private:
  const Folder& folder_;
};

}  // namespace culvert::plugins::multi
