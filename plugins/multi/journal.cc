#include "plugins/multi/journal.h"

#include "base/file.h"
#include "cni/config_reader.h"
#include "cni/environment.h"
#include "cni/json.h"
#include "hostfw/owner.h"

namespace culvert::plugins::multi {
namespace {

using cni::ConfigReader;
using nlohmann::json;

constexpr std::size_t kMaxEntryBytes = 16U << 20;
constexpr unsigned kFolderMode = 0700, kFileMode = 0600;
constexpr std::string_view kSuffix = ".json";
constexpr std::string_view kUnfinishedSuffix = ".json.new";  // replaceFile()'s

json entryJson(const Entry& entry) {
  json object = {{"network", entry.network},  {"containerID", entry.containerId},
                 {"interface", entry.ifName}, {"netns", entry.netnsPath},
                 {"bootID", entry.bootId},    {"binDir", entry.binDir},
                 {"networks", json::array()}};
  for (const Attachment& attachment : entry.attachments)
    object["networks"].push_back(toJson(attachment));
  return object;
}

Result<Entry> parseEntry(const json& object) {
  cni::Problems problems;
  const ConfigReader reader(object, "record", problems);
  Entry entry;
  entry.network = reader.string("network");
  entry.containerId = reader.string("containerID");
  entry.ifName = reader.string("interface");
  entry.netnsPath = reader.string("netns");
  entry.bootId = reader.string("bootID");
  entry.binDir = reader.string("binDir");
  if (!cni::isIdentifier(entry.containerId)) reader.problem("containerID", "is no container ID");
  const json& networks = reader.raw("networks");
  if (!networks.is_array()) reader.problem("networks", "is not a list");
  if (const auto outcome = problems.take(); !outcome)
    return makeError(Errc::kDecode, outcome.error().message);
  for (const json& network : networks)
    entry.attachments.push_back(TRY(attachmentFrom(network)));
  return entry;
}

Result<Entry> readEntry(const std::string& path) {
  const std::string text = TRY(readFile(path, kMaxEntryBytes));
  const json object = TRY(cni::parseJson(text).context(path));
  Entry entry = TRY(parseEntry(object).context(path));
  entry.file = path;
  return entry;
}

}  // namespace

std::string Journal::pathOf(const std::string& network, const std::string& containerId,
                            const std::string& ifName) const {
  const hostfw::OwnerHash hash =
      hostfw::ownerHash({.network = network, .containerId = containerId, .ifName = ifName});
  return folder_ + "/" + hash.network + "-" + hash.attachment + std::string(kSuffix);
}

Result<void> Journal::write(const Entry& entry) const {
  TRY(ensureDirectory(folder_, kFolderMode));
  return replaceFile(pathOf(entry.network, entry.containerId, entry.ifName),
                     entryJson(entry).dump(-1, ' ', false, json::error_handler_t::replace),
                     kFileMode);
}

Result<std::optional<Entry>> Journal::find(const cni::Request& request) const {
  Result<Entry> entry = readEntry(pathOf(request.network, request.containerId, request.ifName));
  if (entry) return std::move(*entry);
  if (entry.error().code == Errc::kNotFound) return std::nullopt;
  return std::move(entry).error();
}

Result<void> Journal::remove(const Entry& entry) const {
  return removeFile(entry.file.empty() ? pathOf(entry.network, entry.containerId, entry.ifName)
                                       : entry.file);
}

Result<void> Journal::remove(const cni::Request& request) const {
  return removeFile(pathOf(request.network, request.containerId, request.ifName));
}

Result<std::vector<std::string>> Journal::listFiles(std::string_view suffix) const {
  std::vector<std::string> paths;
  const auto names = listDirectory(folder_);
  if (!names && names.error().code == Errc::kNotFound) return paths;
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (name.ends_with(suffix)) paths.push_back(folder_ + "/" + name);
  }
  return paths;
}

Result<void> Journal::removeUnfinished() const {
  for (const std::string& path : TRY(listFiles(kUnfinishedSuffix)))
    TRY(removeFile(path));
  return {};
}

Result<std::vector<Entry>> Journal::list() const {
  std::vector<Entry> entries;
  for (const std::string& path : TRY(listFiles(kSuffix))) {
    Result<Entry> entry = readEntry(path);
    if (!entry && entry.error().code == Errc::kNotFound) continue;  // its DEL was faster
    entries.push_back(TRY(std::move(entry)));
  }
  return entries;
}

Result<std::string> readBootId() {
  std::string id = TRY(readFile("/proc/sys/kernel/random/boot_id", 64));
  while (id.ends_with('\n'))
    id.pop_back();
  return id;
}

}  // namespace culvert::plugins::multi
