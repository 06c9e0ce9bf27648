#pragma once

#include <compare>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "daemons/sources/source.h"
#include "daemons/sources/yaml.h"

namespace culvert::sources {

/// What is in a folder of manifests: whose objects stand in which file, but not the objects
/// themselves. They are read again when somebody wants them.
///
/// A file of ours ("culvert.PLURAL.[NS.]NAME.json") holds one object; an overlay
/// ("culvert-patch.PLURAL...") the merge patch that we apply to an object in an operator's file. Of
/// an object in several files, the first file by name counts, and the others are a problem.
class DirIndex {
 public:
  struct Id {
    std::string group, kind;
    Key key;
    bool operator==(const Id&) const = default;
    /// What differs most comes first.
    std::strong_ordering operator<=>(const Id& other) const {
      return std::tie(key.name, key.ns, kind, group) <=>
             std::tie(other.key.name, other.key.ns, other.kind, other.group);
    }
  };
  struct Found {
    std::string file;     // where the object stands
    std::string overlay;  // and what is laid over it; empty if nothing is
    std::string version;  // of both
  };

  explicit DirIndex(std::string folder) : folder_(std::move(folder)) {}

  /// Only objects of the kinds named are noted. True if the kind is new: everything has to be read.
  bool want(const Kind& kind);

  /// Whether a file of that name can be a manifest: .yaml, .yml or .json, not hidden, no temporary.
  static bool isManifest(const std::string& name);
  /// All manifests' names, in order. kNotFound if there is no folder.
  Result<std::vector<std::string>> files() const;

  /// Reads `name` (which may have gone); the ids that may have changed are added to `touched`. What
  /// is broken keeps its last good objects.
  void read(const std::string& name, std::set<Id>& touched);
  /// Reads everything that is there, and forgets what is not. kNotFound: nothing is changed.
  /// `found` is called for each object that counts, while its file is at hand: load() then costs
  /// no second look at the file.
  Result<void> readAll(std::set<Id>& touched, const std::function<void(const Id&)>& found);

  std::optional<Found> find(const Id& id) const;
  /// The object as it counts, overlaid, with its resourceVersion.
  Result<Json> load(const Id& id) const;
  /// As load(), of what find() has found, for the last one who asks before the file changes: what
  /// was kept of it goes.
  Result<Json> take(const Id& id, const Found& found) const;
  /// As find(), but nothing more.
  bool has(const Id& id) const { return where_.count(id) != 0; }
  /// The object without its overlay.
  Result<Json> loadBase(const Id& id) const;
  std::vector<Id> all(const Kind& kind) const;

  /// "nodes.yaml:12: ..."
  std::vector<std::string> problems() const;

  /// Objects parsed last are kept until this, so that a file of many is parsed once.
  void dropCache() { cache_ = {}; }

  static Id idOf(const Kind& kind, const Key& key);
  static std::string fileName(const Kind& kind, const Key& key, bool isOverlay);
  static bool isOurs(const std::string& name) { return name.starts_with("culvert."); }
  static bool isOverlay(const std::string& name) { return name.starts_with("culvert-patch."); }

 private:
  struct Object {
    Id id;
    Json json;
    int line;
    std::uint64_t digest;
  };
  struct File {
    std::map<Id, std::string> versions;  // of its objects: hashes of their content
    std::vector<std::string> problems;
    std::string hash;  // of its text
  };

  Result<std::string> text(const std::string& name) const;
  Result<std::vector<Object>> parse(const std::string& name, const std::string& text,
                                    std::vector<std::string>& problems) const;
  void collect(Document&& document, const std::string& name, std::vector<Object>& objects,
               std::vector<std::string>& problems) const;
  void note(const std::string& name, File&& file, std::set<Id>& touched);
  Result<Json*> objectIn(const std::string& name, const Id& id) const;
  Result<Json> finish(const Id& id, const Found& found, Json object) const;
  void judge(const std::string& name, const std::string& content, File& file, std::string& problem);

  std::string folder_;
  std::vector<Kind> kinds_;
  std::map<std::string, File> files_;
  std::size_t overlays_ = 0;  // among them
  struct Cache {
    std::string name, hash;
    std::map<Id, Json> objects;
  };
  mutable Cache cache_;
  std::map<Id, std::set<std::string>> where_;  // files that have the object, without overlays
};

}  // namespace culvert::sources
