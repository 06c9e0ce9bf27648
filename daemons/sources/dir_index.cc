#include "daemons/sources/dir_index.h"

#include <sys/stat.h>

#include <algorithm>
#include <cinttypes>
#include <climits>
#include <cstdio>
#include <functional>

#include "base/file.h"
#include "daemons/sources/json_parse.h"
#include "daemons/sources/kube_list.h"
#include "daemons/sources/merge_patch.h"
#include "daemons/sources/yaml.h"

namespace culvert::sources {

namespace {

constexpr std::size_t kMaxFileBytes = 32U << 20;

std::string textOf(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

/// Tells versions apart. 15 digits fit into a short string.
std::string versionText(std::uint64_t digest) {
  char text[16];
  std::snprintf(text, sizeof text, "%015" PRIx64, digest >> 4);
  return text;
}

/// Objects of Calico's groups that are ours by another name.
bool isAlias(const Kind& kind, const std::string& group) {
  if (group != "projectcalico.org" && group != "crd.projectcalico.org") return false;
  return kind == objects::kIpPool || kind == objects::kBgpConfiguration ||
         kind == objects::kBgpPeer || kind == objects::kBgpFilter;
}

/// Of a real path within the folder, symbolic links and all (a ConfigMap's go through ..data).
bool isWithin(const std::string& path, const std::string& folder) {
  char real[PATH_MAX];
  char top[PATH_MAX];
  if (::realpath(folder.c_str(), top) == nullptr) return false;
  if (::realpath(path.c_str(), real) == nullptr) return false;
  return std::string(real).starts_with(std::string(top) + "/");
}

}  // namespace

bool DirIndex::want(const Kind& kind) {
  if (std::find(kinds_.begin(), kinds_.end(), kind) != kinds_.end()) return false;
  kinds_.push_back(kind);
  for (auto& [name, file] : files_)
    file.hash = "unread";
  return true;
}

bool DirIndex::isManifest(const std::string& name) {
  if (name.empty() || name.front() == '.' || name.front() == '#') return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

DirIndex::Id DirIndex::idOf(const Kind& kind, const Key& key) {
  Id id{std::string(kind.group), std::string(kind.name), key};
  if (!kind.namespaced) id.key.ns.clear();
  if (kind.namespaced && id.key.ns.empty()) id.key.ns = "default";
  return id;
}

std::string DirIndex::fileName(const Kind& kind, const Key& key, bool isOverlay) {
  const Id id = idOf(kind, key);
  return (isOverlay ? "culvert-patch." : "culvert.") + std::string(kind.plural) + "." +
         (id.key.ns.empty() ? "" : id.key.ns + ".") + id.key.name + ".json";
}

Result<std::vector<std::string>> DirIndex::files() const {
  auto listed = listDirectory(folder_);
  if (!listed) return fromErrno(listed.error().sysErrno, folder_);
  std::vector<std::string> names = *std::move(listed);
  std::erase_if(names, [](const std::string& name) { return !isManifest(name); });
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> DirIndex::text(const std::string& name) const {
  const std::string path = folder_ + "/" + name;
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return fromErrno(errno, name);
  if (S_ISLNK(info.st_mode) && !isWithin(path, folder_)) {
    return makeError(Errc::kIo, name + ": a symbolic link that leads out of the folder");
  }
  if (::stat(path.c_str(), &info) != 0) return fromErrno(errno, name);
  if (!S_ISREG(info.st_mode)) return makeError(Errc::kIo, name + ": not a regular file");
  return readFile(path, kMaxFileBytes);
}

void DirIndex::collect(Document&& document, const std::string& name, std::vector<Object>& objects,
                       std::vector<std::string>& problems) const {
  Json& value = document.value;
  const std::string at = name + ":" + std::to_string(document.line) + ": ";
  if (!value.is_object()) return problems.push_back(at + "not an object");
  const std::string kindName = textOf(value, "kind");
  const auto items = value.find("items");
  if (kindName.ends_with("List") && items != value.end() && items->is_array()) {
    for (Json& each : *items) {
      const std::uint64_t digest = digestOf(each);
      collect({std::move(each), document.line, digest}, name, objects, problems);
    }
    return;
  }
  const std::string version = textOf(value, "apiVersion");
  const std::size_t slash = version.find('/');
  const std::string group = slash == std::string::npos ? "" : version.substr(0, slash);
  if (kindName.empty() || version.empty()) {
    return problems.push_back(at + "no apiVersion and kind");
  }
  for (const Kind& kind : kinds_) {
    if (kind.name != kindName || (kind.group != group && !isAlias(kind, group))) continue;
    const Key key = keyOf(value);
    if (key.name.empty()) return problems.push_back(at + kindName + " without metadata.name");
    const Id id = idOf(kind, key);
    value["apiVersion"] = kind.apiVersion();
    if (kind.namespaced) value["metadata"]["namespace"] = id.key.ns;
    if (!kind.namespaced) value["metadata"].erase("namespace");
    objects.push_back({id, std::move(value), document.line, document.digest});
    return;
  }
}

Result<std::vector<DirIndex::Object>> DirIndex::parse(const std::string& name,
                                                      const std::string& text,
                                                      std::vector<std::string>& problems) const {
  auto documents = TRY(name.ends_with(".json") ? parseJsonFile(text) : parseYaml(text));
  std::vector<Object> objects;
  for (Document& each : documents) {
    collect(std::move(each), name, objects, problems);
  }
  return objects;
}

void DirIndex::read(const std::string& name, std::set<Id>& touched) {
  auto content = text(name);
  if (!content && content.error().code == Errc::kNotFound) return note(name, {}, touched);
  File file;
  std::string problem;
  if (content) {
    file.hash = versionText(std::hash<std::string>{}(*content));
    const auto known = files_.find(name);
    if (known != files_.end() && known->second.hash == file.hash) return;
    judge(name, *content, file, problem);
  } else {
    problem = content.error().message;
  }
  if (problem.empty()) return note(name, std::move(file), touched);
  File& kept = files_[name];
  kept.hash = file.hash.empty() ? "unread" : file.hash;
  kept.problems = {problem + ", keeping the last good objects"};
}

/// What stands in a file, or the problem that it as a whole has.
void DirIndex::judge(const std::string& name, const std::string& content, File& file,
                     std::string& problem) {
  if (content.find_first_not_of(" \t\r\n") == std::string::npos) {
    const auto known = files_.find(name);  // somebody may be about to write it
    if (known != files_.end() && !known->second.versions.empty()) problem = name + ":1: empty";
    return;
  }
  auto objects = parse(name, content, file.problems);
  if (!objects) {
    problem = name + ":" + objects.error().message;
    return;
  }
  cache_ = {name, file.hash, {}};
  for (Object& each : *objects) {
    if (!file.versions.emplace(each.id, versionText(each.digest)).second) {
      file.problems.push_back(name + ":" + std::to_string(each.line) + ": " + each.id.kind + " " +
                              each.id.key.text() + " twice");
    }
    cache_.objects.emplace(each.id, std::move(each.json));
  }
}

/// Replaces what is known of a file; an empty hash: it is gone.
void DirIndex::note(const std::string& name, File&& file, std::set<Id>& touched) {
  const auto known = files_.find(name);
  if (known != files_.end()) {
    for (const auto& [id, version] : known->second.versions) {
      touched.insert(id);
      if (isOverlay(name)) continue;
      where_[id].erase(name);
      if (where_[id].empty()) where_.erase(id);
    }
  }
  for (const auto& [id, version] : file.versions) {
    touched.insert(id);
    if (!isOverlay(name)) where_[id].insert(name);
  }
  if (file.hash.empty()) {
    files_.erase(name);
  } else {
    files_[name] = std::move(file);
  }
  if (isOverlay(name))
    overlays_ = static_cast<std::size_t>(std::count_if(
        files_.begin(), files_.end(), [](const auto& of) { return isOverlay(of.first); }));
}

Result<void> DirIndex::readAll(std::set<Id>& touched, const std::function<void(const Id&)>& found) {
  auto names = TRY(files());
  std::vector<std::string> gone;
  for (const auto& [name, file] : files_) {
    if (!std::binary_search(names.begin(), names.end(), name)) gone.push_back(name);
  }
  for (const auto& name : gone)
    note(name, {}, touched);
  std::stable_partition(names.begin(), names.end(), isOverlay);  // what they lie over comes after
  for (const auto& name : names) {
    read(name, touched);
    if (cache_.name != name || isOverlay(name)) continue;
    for (const auto& [id, version] : files_.at(name).versions) {
      if (*where_.at(id).begin() == name) found(id);
    }
  }
  return {};
}

std::optional<DirIndex::Found> DirIndex::find(const Id& id) const {
  const auto at = where_.find(id);
  if (at == where_.end()) return std::nullopt;
  Found found;
  found.file = *at->second.begin();
  found.version = files_.at(found.file).versions.at(id);
  if (overlays_ == 0) return found;
  for (const Kind& kind : kinds_) {
    if (kind.group != id.group || kind.name != id.kind) continue;
    const auto overlay = files_.find(fileName(kind, id.key, true));
    if (overlay == files_.end() || !overlay->second.versions.contains(id)) continue;
    found.overlay = overlay->first;
    found.version =
        versionText(std::hash<std::string>{}(found.version + overlay->second.versions.at(id)));
  }
  return found;
}

/// In the cache, which it fills.
Result<Json*> DirIndex::objectIn(const std::string& name, const Id& id) const {
  const std::string& hash = files_.at(name).hash;
  if (cache_.name != name || cache_.hash != hash || cache_.objects.count(id) == 0) {
    const std::string content = TRY(text(name));
    std::vector<std::string> ignored;
    auto objects = parse(name, content, ignored);
    if (!objects) return makeError(Errc::kTryAgain, name + ":" + objects.error().message);
    cache_ = {name, hash, {}};
    for (Object& each : *objects)
      cache_.objects.emplace(each.id, std::move(each.json));
  }
  const auto at = cache_.objects.find(id);
  if (at == cache_.objects.end()) {
    return makeError(Errc::kNotFound, id.key.text() + " is not there");
  }
  return &at->second;
}

Result<Json> DirIndex::loadBase(const Id& id) const {
  const auto found = find(id);
  if (!found) return makeError(Errc::kNotFound, id.key.text() + " is not there");
  return *TRY(objectIn(found->file, id));
}

Result<Json> DirIndex::load(const Id& id) const {
  const auto found = find(id);
  if (!found) return makeError(Errc::kNotFound, id.key.text() + " is not there");
  return finish(id, *found, *TRY(objectIn(found->file, id)));
}

Result<Json> DirIndex::take(const Id& id, const Found& found) const {
  Json object = std::move(*TRY(objectIn(found.file, id)));
  cache_.objects.erase(id);
  return finish(id, found, std::move(object));
}

Result<Json> DirIndex::finish(const Id& id, const Found& found, Json object) const {
  if (!found.overlay.empty()) {
    const Json patch = *TRY(objectIn(found.overlay, id));
    object = TRY(applyMergePatch(std::move(object), patch));
  }
  object["metadata"]["resourceVersion"] = found.version;
  return object;
}

std::vector<DirIndex::Id> DirIndex::all(const Kind& kind) const {
  std::vector<Id> ids;
  for (const auto& [id, files] : where_) {
    if (id.group == kind.group && id.kind == kind.name) ids.push_back(id);
  }
  return ids;
}

std::vector<std::string> DirIndex::problems() const {
  std::vector<std::string> all;
  for (const auto& [name, file] : files_) {
    all.insert(all.end(), file.problems.begin(), file.problems.end());
  }
  for (const auto& [id, files] : where_) {
    for (auto other = std::next(files.begin()); other != files.end(); ++other) {
      all.push_back(*other + ": " + id.kind + " " + id.key.text() + " is in " + *files.begin() +
                    " already, which counts");
    }
  }
  return all;
}

}  // namespace culvert::sources
