#include "daemons/sources/dir_write.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/file.h"
#include "daemons/sources/kube_list.h"
#include "daemons/sources/merge_patch.h"

namespace culvert::sources {

namespace {

Result<void> checkName(const Kind& kind, const DirIndex::Id& id) {
  const auto isPlain = [](const std::string& text) {
    return text.size() <= 200 &&
           text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string::npos;
  };
  if (!id.key.name.empty() && isPlain(id.key.name) && isPlain(id.key.ns)) return {};
  return makeError(Errc::kInvalidConfig,
                   "\"" + id.key.text() + "\" cannot name one of the " + std::string(kind.plural));
}

void forgetVersion(Json& object) {
  if (object["metadata"].is_object()) object["metadata"].erase("resourceVersion");
}

Error changed(const DirIndex::Id& id) {
  return makeError(Errc::kConflict, id.key.text() + " has changed meanwhile");
}

Error absent(const DirIndex::Id& id) {
  return makeError(Errc::kNotFound, id.key.text() + " is not there");
}

Result<void> syncPath(const std::string& path, int flags) {
  const UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fromErrno(errno, "sync " + path);
  return {};
}

}  // namespace

Result<UniqueFd> lockFolder(const std::string& folder) {
  const std::string path = folder + "/.culvert.lock";
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd && errno == ENOENT) return makeError(Errc::kTryAgain, folder + ": no such folder");
  if (!fd) {
    Error error = fromErrno(errno, "cannot write to the folder of manifests " + folder);
    error.code = Errc::kIo;
    return error;
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return makeError(Errc::kConflict, folder + ": another process is writing");
  }
  return fd;
}

Result<Json> DirWriter::create(const Kind& kind, Json object) {
  const DirIndex::Id id = DirIndex::idOf(kind, keyOf(object));
  TRY(checkName(kind, id));
  if (index_.find(id)) {
    return makeError(Errc::kAlreadyExists, id.key.text() + " is there already");
  }
  object["apiVersion"] = kind.apiVersion();
  object["kind"] = kind.name;
  forgetVersion(object);
  TRY(unlink(DirIndex::fileName(kind, id.key, true)));  // laid over an object that is gone
  TRY(write(DirIndex::fileName(kind, id.key, false), object));
  return index_.load(id);
}

Result<Json> DirWriter::update(const Kind& kind, Json object) {
  const DirIndex::Id id = DirIndex::idOf(kind, keyOf(object));
  const std::string version = versionOf(object);
  if (version.empty()) {
    return makeError(Errc::kInvalidConfig, "update without metadata.resourceVersion");
  }
  const auto found = index_.find(id);
  if (!found) return absent(id);
  if (found->version != version) return changed(id);
  return store(kind, id, std::move(object));
}

Result<Json> DirWriter::mergePatch(const Kind& kind, const Key& key, const Json& patch) {
  const DirIndex::Id id = DirIndex::idOf(kind, key);
  const auto found = index_.find(id);
  if (!found) return absent(id);
  Json before = TRY(index_.load(id));
  Json after = TRY(applyMergePatch(before, patch));
  const bool isBound = patch.contains(Json::json_pointer("/metadata/resourceVersion"));
  if (isBound && versionOf(after) != found->version) return changed(id);
  if (DirIndex::idOf(kind, keyOf(after)) != id) {
    return makeError(Errc::kInvalidConfig, "the patch changes what names the object");
  }
  if (after == before) return before;
  return store(kind, id, std::move(after));
}

/// In our own file whole; over an operator's file only what differs, for that file is not ours.
Result<Json> DirWriter::store(const Kind& kind, const DirIndex::Id& id, Json object) {
  object["apiVersion"] = kind.apiVersion();
  object["kind"] = kind.name;
  forgetVersion(object);
  const std::string own = DirIndex::fileName(kind, id.key, false);
  const std::string overlay = DirIndex::fileName(kind, id.key, true);
  if (index_.find(id)->file == own) {
    TRY(write(own, object));
    TRY(unlink(overlay));
    return index_.load(id);
  }
  Json base = TRY(index_.loadBase(id));
  forgetVersion(base);
  Json patch = diffMergePatch(base, object);
  if (patch.empty()) {
    TRY(unlink(overlay));
    return index_.load(id);
  }
  patch["apiVersion"] = kind.apiVersion();
  patch["kind"] = kind.name;
  patch["metadata"]["name"] = id.key.name;
  if (!id.key.ns.empty()) patch["metadata"]["namespace"] = id.key.ns;
  TRY(write(overlay, patch));
  return index_.load(id);
}

Result<void> DirWriter::remove(const Kind& kind, const Key& key, const std::string& version) {
  const DirIndex::Id id = DirIndex::idOf(kind, key);
  const auto found = index_.find(id);
  if (!found) return absent(id);
  if (!version.empty() && version != found->version) return changed(id);
  if (found->file != DirIndex::fileName(kind, id.key, false)) {
    return makeError(Errc::kIo, id.key.text() + " stands in " + folder_ + "/" + found->file +
                                    ", which is the operator's to change");
  }
  TRY(unlink(DirIndex::fileName(kind, id.key, true)));
  return unlink(found->file);
}

Result<void> DirWriter::write(const std::string& name, const Json& content) {
  const std::string hidden = folder_ + "/.new." + name;
  const std::string text = content.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  {
    const UniqueFd fd(
        ::open(hidden.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fromErrno(errno, "create " + hidden);
    TRY(writeAll(fd.get(), text).context(hidden));
    if (::fsync(fd.get()) != 0) return fromErrno(errno, "sync " + hidden);
  }
  if (::rename(hidden.c_str(), (folder_ + "/" + name).c_str()) != 0) {
    return fromErrno(errno, "replace " + name);
  }
  TRY(syncPath(folder_, O_RDONLY | O_DIRECTORY));
  index_.read(name, touched_);
  return {};
}

Result<void> DirWriter::unlink(const std::string& name) {
  if (::unlink((folder_ + "/" + name).c_str()) != 0) {
    if (errno == ENOENT) return {};
    return fromErrno(errno, "remove " + name);
  }
  TRY(syncPath(folder_, O_RDONLY | O_DIRECTORY));
  index_.read(name, touched_);
  return {};
}

}  // namespace culvert::sources
