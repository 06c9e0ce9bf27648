#include "plugins/shared/record.h"

#include <set>

#include "base/file.h"
#include "cni/config_reader.h"
#include "cni/json.h"
#include "hostfw/owner.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

constexpr char kFolder[] = "/run/culvert/attachments";
constexpr std::size_t kMaxRecordBytes = 1U << 20;

std::string folderOf(std::string_view plugin) {
  return std::string(kFolder) + '/' + std::string(plugin);
}

std::string fileOf(const cni::Request& request, std::string_view plugin) {
  const hostfw::OwnerHash hash = hostfw::ownerHash(ownerOf(request));
  return folderOf(plugin) + '/' + hash.network + '-' + hash.attachment;
}

Result<Record> parseRecord(const std::string& file, const std::string& text) {
  const nlohmann::json json = TRY(cni::parseJson(text).context("record '" + file + "'"));
  cni::Problems problems;
  const cni::ConfigReader reader(json, "", problems);
  Record record{
      .containerId = reader.string("containerID"),
      .ifName = reader.string("ifname"),
      .netnsPath = reader.string("netns"),
      .netnsDevice =
          static_cast<std::uint64_t>(reader.integer("netnsDevice", 0, INT64_MAX).value_or(0)),
      .netnsInode =
          static_cast<std::uint64_t>(reader.integer("netnsInode", 0, INT64_MAX).value_or(0)),
      .details = json.value("details", nlohmann::json::object()),
      .file = file};
  auto outcome = problems.take();
  if (!outcome)
    return makeError(Errc::kDecode, "record '" + file + "': " + outcome.error().message);
  return record;
}

Result<std::optional<Record>> readRecord(const std::string& file) {
  const auto text = readFile(file, kMaxRecordBytes);
  if (!text && text.error().code == Errc::kNotFound) return std::optional<Record>();
  if (!text) return text.error();
  return std::optional(TRY(parseRecord(file, *text)));
}

/// The files of the network, with what a crash left unfinished. No folder: none.
Result<std::vector<std::string>> listFiles(const std::string& folder, const std::string& prefix) {
  const auto names = listDirectory(folder);
  if (!names && names.error().code == Errc::kNotFound) return std::vector<std::string>();
  if (!names) return names.error();
  std::vector<std::string> files;
  for (const std::string& name : *names) {
    if (name.starts_with(prefix)) files.push_back(folder + '/' + name);
  }
  return files;
}

}  // namespace

std::optional<NetNs> Record::openNetns() const {
  auto ns = NetNs::open(netnsPath);
  if (!ns || ns->device() != netnsDevice || ns->inode() != netnsInode) return std::nullopt;
  return std::move(*ns);
}

Result<void> writeRecord(const cni::Request& request, std::string_view plugin,
                         const nlohmann::json& details) {
  const NetNs ns = TRY(NetNs::open(request.netnsPath));
  const nlohmann::json json{{"network", request.network}, {"containerID", request.containerId},
                            {"ifname", request.ifName},   {"netns", request.netnsPath},
                            {"netnsDevice", ns.device()}, {"netnsInode", ns.inode()},
                            {"details", details}};
  TRY(ensureDirectory(folderOf(plugin), 0700));
  const std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return replaceFile(fileOf(request, plugin), text, 0600);
}

Result<std::optional<Record>> findRecord(const cni::Request& request, std::string_view plugin) {
  return readRecord(fileOf(request, plugin));
}

Result<void> removeRecord(const cni::Request& request, std::string_view plugin) {
  return removeFile(fileOf(request, plugin));
}

Result<void> removeRecord(const Record& record) {
  return removeFile(record.file);
}

Result<std::vector<Record>> listStaleRecords(const cni::Request& request, std::string_view plugin) {
  std::set<std::string> valid;
  for (const cni::Attachment& attachment : *request.validAttachments) {
    const hostfw::OwnerHash hash =
        hostfw::ownerHash({request.network, attachment.containerId, attachment.ifName});
    valid.insert(folderOf(plugin) + '/' + hash.network + '-' + hash.attachment);
  }
  const std::string prefix = hostfw::ownerHash(networkOwner(request.network)).network + '-';
  std::vector<Record> stale;
  for (const std::string& file : TRY(listFiles(folderOf(plugin), prefix))) {
    if (valid.contains(file)) continue;
    const auto record = file.ends_with(".new") ? std::optional<Record>() : TRY(readRecord(file));
    if (record) {
      stale.push_back(*record);
    } else {
      TRY(removeFile(file));  // never finished: nothing was done yet
    }
  }
  return stale;
}

cni::Request requestFor(const cni::Request& request, const Record& record) {
  cni::Request of = request;
  of.containerId = record.containerId;
  of.ifName = record.ifName;
  of.netnsPath = record.openNetns() ? record.netnsPath : "";
  of.prevResult.reset();
  return of;
}

}  // namespace culvert::plugins
