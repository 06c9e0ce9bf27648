#pragma once

#include <string>

#include "base/fd.h"
#include "daemons/sources/dir_index.h"

namespace culvert::sources {

/// Changes to a folder of manifests. The caller holds the folder's lock, and has read what is new;
/// afterwards `index` knows the change. Errors as of Source.
class DirWriter {
 public:
  DirWriter(std::string folder, DirIndex& index, std::set<DirIndex::Id>& touched)
      : folder_(std::move(folder)), index_(index), touched_(touched) {}

  Result<Json> create(const Kind& kind, Json object);
  Result<Json> update(const Kind& kind, Json object);
  Result<Json> mergePatch(const Kind& kind, const Key& key, const Json& patch);
  Result<void> remove(const Kind& kind, const Key& key, const std::string& version);

 private:
  Result<Json> store(const Kind& kind, const DirIndex::Id& id, Json object);
  Result<void> write(const std::string& name, const Json& content);
  Result<void> unlink(const std::string& name);

  std::string folder_;
  DirIndex& index_;
  std::set<DirIndex::Id>& touched_;
};

/// The lock that keeps writers of a folder apart, also those in other processes; held until
/// destroyed. kConflict: somebody else has it now. kTryAgain: there is no folder. kIo: it cannot be
/// written to.
Result<UniqueFd> lockFolder(const std::string& folder);

}  // namespace culvert::sources
