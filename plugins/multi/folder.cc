#include "plugins/multi/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/file.h"
#include "cni/json.h"
#include "plugins/multi/yaml.h"

namespace culvert::plugins::multi {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFileBytes = 1U << 20;
constexpr std::size_t kMaxFiles = 4096;

bool isYaml(std::string_view name) {
  return name.ends_with(".yaml") || name.ends_with(".yml");
}

bool isConfiguration(std::string_view name) {
  return name.ends_with(".conflist") || name.ends_with(".conf") || name.ends_with(".json") ||
         isYaml(name);
}

/// The names in a directory that are ours to read, sorted.
Result<std::vector<std::string>> listFiles(int folder) {
  const int copy = ::fcntl(folder, F_DUPFD_CLOEXEC, 0);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), ::closedir);
  if (!stream) return fromErrno(errno, "list files");
  std::vector<std::string> names;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is this function's own
  while (const dirent* entry = ::readdir(stream.get())) {
    if (isConfiguration(entry->d_name) && entry->d_name[0] != '.')
      names.emplace_back(entry->d_name);
  }
  if (names.size() > kMaxFiles)
    return makeError(Errc::kInvalidConfig, "more than " + std::to_string(kMaxFiles) + " files");
  std::sort(names.begin(), names.end());
  return names;
}

/// Opens without leaving the folder, whatever links say (openat2(2), RESOLVE_BENEATH).
Result<std::string> readBeneath(int folder, const std::string& name) {
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const UniqueFd fd(
      static_cast<int>(::syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how)));
  if (!fd && errno == EXDEV)
    return makeError(Errc::kIo, "it is a link that leads out of the folder");
  if (!fd) return fromErrno(errno, "open");
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fromErrno(errno, "stat");
  if (!S_ISREG(info.st_mode)) return makeError(Errc::kIo, "it is no regular file");
  return readAll(fd.get(), kMaxFileBytes);
}

Result<std::vector<json>> parseDocuments(const std::string& name, const std::string& text) {
  if (isYaml(name)) return parseYaml(text);
  json document = TRY(cni::parseJson(text));
  return std::vector<json>{std::move(document)};
}

bool isList(const json& document) {
  return document.is_object() && document.contains("plugins");
}

bool isSingle(const json& document) {
  return document.is_object() && !document.contains("plugins") && document.contains("type");
}

bool isNamed(const json& document, const std::string& name) {
  const auto found = document.find("name");
  return found != document.end() && found->is_string() && *found == name;
}

}  // namespace

void Folder::loadFile(int folder, const std::string& name) {
  const Result<std::string> text = readBeneath(folder, name);
  if (!text) return unreadable_.push_back(name + ": " + text.error().message);
  Result<std::vector<json>> documents = parseDocuments(name, *text);
  if (!documents) return unreadable_.push_back(name + ": " + documents.error().message);
  for (json& document : *documents)
    documents_.push_back({name, std::move(document)});
}

Result<Folder> Folder::load(const std::string& path) {
  Folder folder;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return folder;
  if (!fd) return fromErrno(errno, "open " + path);
  for (const std::string& name : TRY(listFiles(fd.get()).context(path)))
    folder.loadFile(fd.get(), name);
  return folder;
}

Result<std::optional<Network>> Folder::findNetwork(const std::string& name,
                                                   const NetworkDefaults& defaults) const {
  for (const auto& isKind : {isList, isSingle}) {
    for (const Document& document : documents_) {
      if (!isKind(document.content) || !isNamed(document.content, name)) continue;
      return TRY(parseNetwork(document.content, defaults, document.file));
    }
  }
  return std::nullopt;
}

std::vector<Network> Folder::listNetworks(const NetworkDefaults& defaults) const {
  std::vector<Network> networks;
  for (const auto& [file, content] : documents_) {
    Result<Network> network = makeError(Errc::kNotFound, file);
    if (isList(content) || isSingle(content)) {
      network = parseNetwork(content, defaults, file);
    } else if (objectName(content).kind == "NetworkAttachmentDefinition") {
      const auto definition = parseDefinition(content, file);
      if (!definition || definition->config.empty()) continue;
      network = parseNetworkText(definition->config,
                                 {.name = definition->name, .version = defaults.version}, file);
    }
    if (network) networks.push_back(std::move(*network));
  }
  return networks;
}

const json* Folder::findManifest(const std::string& kind, const std::string& ns,
                                 const std::string& name) const {
  for (const Document& document : documents_) {
    const ObjectName object = objectName(document.content);
    if (object.kind == kind && object.ns == ns && object.name == name) return &document.content;
  }
  return nullptr;
}

std::string Folder::unreadable() const {
  std::string all;
  for (const std::string& one : unreadable_)
    all += (all.empty() ? "; not readable: " : ", ") + one;
  return all;
}

Result<Network> loadNetworkFile(const std::string& path, const NetworkDefaults& defaults) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fromErrno(errno, "open " + path);
    for (const std::string& name : TRY(listFiles(fd.get()).context(path)))
      if (!isYaml(name)) return loadNetworkFile(path + "/" + name, defaults);
    return makeError(Errc::kNotFound, path + ": has no network configuration in it");
  }
  const std::string text = TRY(readFile(path, kMaxFileBytes));
  return parseNetworkText(text, defaults, path);
}

Result<std::optional<Pod>> FolderSource::findPod(const std::string& ns, const std::string& name) {
  const json* manifest = folder_.findManifest("Pod", ns, name);
  if (manifest == nullptr) return std::nullopt;
  return TRY(parsePod(*manifest, "pod " + ns + "/" + name));
}

Result<std::optional<Definition>> FolderSource::findDefinition(const std::string& ns,
                                                               const std::string& name) {
  const json* manifest = folder_.findManifest("NetworkAttachmentDefinition", ns, name);
  if (manifest == nullptr) return std::nullopt;
  return TRY(parseDefinition(*manifest, "NetworkAttachmentDefinition " + ns + "/" + name));
}

}  // namespace culvert::plugins::multi
