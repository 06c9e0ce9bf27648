#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "daemons/objects/ip_pool.h"
#include "daemons/objects/node.h"

namespace culvert::routing {

/// What the source last said, kept on disk, so that a node that starts while its source cannot be
/// reached forwards as before.
struct KnownState {
  std::map<std::string, objects::Node> nodes;
  std::map<std::string, objects::IpPool> pools;
  std::map<std::string, objects::AddressBlock> blocks;
};

class StateWriter {
 public:
  void add(const objects::Node& node);
  void add(const objects::IpPool& pool);
  void add(const objects::AddressBlock& block);
  /// Replaces `path`, whole or not at all, mode 0600; its folder is created.
  Result<void> save(const std::string& path) const;

 private:
  std::string lines_;
};

/// kNotFound if there is none; kDecode if it is damaged. Single objects that cannot be read are
/// left out.
Result<KnownState> loadState(const std::string& path);

}  // namespace culvert::routing
