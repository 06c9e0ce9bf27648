#include "plugins/tuning/backup.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "cni/config_reader.h"
#include "cni/json.h"
#include "netlink/sysctl.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

using netlink::LinkChange;
using nlohmann::json;

constexpr char kPlugin[] = "tuning";
constexpr std::size_t kMaxBackupBytes = 65536;

std::string backupFile(const cni::Request& request, const std::string& dataDir) {
  return dataDir + '/' + request.containerId + '_' + request.ifName + ".json";
}

bool isEmpty(const LinkChange& link) {
  return !link.mac && !link.mtuBytes && !link.promiscuous && !link.allMulticast &&
         !link.txQueueLength;
}

/// `first`, and from `second` what it says nothing about.
LinkChange merge(LinkChange first, const LinkChange& second) {
  if (!first.mac) first.mac = second.mac;
  if (!first.mtuBytes) first.mtuBytes = second.mtuBytes;
  if (!first.promiscuous) first.promiscuous = second.promiscuous;
  if (!first.allMulticast) first.allMulticast = second.allMulticast;
  if (!first.txQueueLength) first.txQueueLength = second.txQueueLength;
  return first;
}

/// Nothing kept there: nothing to restore.
LinkChange readBackup(const std::string& file) {
  const auto text = readFile(file, kMaxBackupBytes);
  return text ? parseBackup(*text) : LinkChange{};
}

std::map<std::string, std::string> sysctlsOf(const Record& record) {
  cni::Problems ignored;
  return cni::ConfigReader(record.details, "", ignored).stringMap("sysctl");
}

std::set<std::string> filesOf(const std::optional<Record>& record) {
  if (!record) return {};
  cni::Problems ignored;
  const auto files = cni::ConfigReader(record->details, "", ignored).strings("backups");
  return {files.begin(), files.end()};
}

Result<void> changeOne(netlink::Rtnl& rtnl, netlink::IfIndex link, const LinkChange& change) {
  if (isEmpty(change)) return {};
  return ignoreNotFound(rtnl.changeLink(link, change));
}

/// In the namespace that was tuned; one of the same path that is another is left alone.
std::optional<Sandbox> openTuned(const cni::Request& request, const std::optional<Record>& record) {
  if (!record) return Sandbox::openIfPresent(request);
  auto ns = record->openNetns();
  if (!ns) return std::nullopt;
  auto rtnl = netlink::Rtnl::openIn(*ns);
  if (!rtnl) return std::nullopt;
  return Sandbox{std::move(*ns), std::move(*rtnl)};
}

}  // namespace

bool TuningBackup::empty() const {
  return isEmpty(link) && sysctls.empty();
}

std::string renderBackup(const LinkChange& link) {
  nlohmann::ordered_json text = nlohmann::ordered_json::object();
  if (link.mac) text["mac"] = link.mac->text();
  if (link.promiscuous) text["promisc"] = *link.promiscuous;
  if (link.mtuBytes) text["mtu"] = *link.mtuBytes;
  if (link.allMulticast) text["allmulti"] = *link.allMulticast;
  if (link.txQueueLength) text["txQLen"] = *link.txQueueLength;
  return text.dump(1);
}

LinkChange parseBackup(const std::string& text) {
  const auto parsed = cni::parseJson(text);
  if (!parsed || !parsed->is_object()) return {};
  cni::Problems ignored;
  const cni::ConfigReader reader(*parsed, "", ignored);
  LinkChange link;
  link.mac = reader.mac("mac");
  if (const auto mtu = reader.integer("mtu", 1, INT32_MAX))
    link.mtuBytes = static_cast<std::uint32_t>(*mtu);
  if (reader.has("promisc")) link.promiscuous = reader.boolean("promisc");
  if (reader.has("allmulti")) link.allMulticast = reader.boolean("allmulti");
  if (const auto length = reader.integer("txQLen", 0, INT32_MAX))
    link.txQueueLength = static_cast<std::uint32_t>(*length);
  return link;
}

Result<void> keepBackup(const cni::Request& request, const TuningConfig& config,
                        const TuningBackup& backup) {
  std::optional<Record> earlier = TRY(findRecord(request, kPlugin));
  if (earlier && !earlier->openNetns()) earlier.reset();  // of a namespace that is gone
  auto sysctls = earlier ? sysctlsOf(*earlier) : std::map<std::string, std::string>();
  sysctls.insert(backup.sysctls.begin(), backup.sysctls.end());
  std::set<std::string> files = filesOf(earlier);
  const std::string file = backupFile(request, config.dataDir);
  // A file that no record tells of was left by the reference, for a container of the same id.
  const LinkChange kept = files.contains(file) ? readBackup(file) : LinkChange{};
  if (!isEmpty(backup.link)) files.insert(file);
  TRY(writeRecord(request, kPlugin, {{"backups", files}, {"sysctl", sysctls}}));
  if (isEmpty(backup.link)) return {};
  TRY(ensureDirectory(config.dataDir, 0700));
  return replaceFile(file, renderBackup(merge(kept, backup.link)), 0600);
}

Result<void> restoreLink(netlink::Rtnl& rtnl, netlink::IfIndex link, const LinkChange& before) {
  FirstError outcome;
  outcome.note(changeOne(rtnl, link, {.mtuBytes = before.mtuBytes}));
  outcome.note(changeOne(rtnl, link, {.mac = before.mac}));
  outcome.note(changeOne(rtnl, link, {.promiscuous = before.promiscuous}));
  outcome.note(changeOne(rtnl, link, {.allMulticast = before.allMulticast}));
  outcome.note(changeOne(rtnl, link, {.txQueueLength = before.txQueueLength}));
  return std::move(outcome).take();
}

Result<void> restoreSysctls(const NetNs& ns, const std::map<std::string, std::string>& before) {
  if (before.empty()) return {};
  return ns.run([&]() -> Result<void> {
    FirstError outcome;
    for (const auto& [path, value] : before)
      outcome.note(ignoreNotFound(netlink::writeSysctl(path, value)));
    return std::move(outcome).take();
  });
}

Result<void> restoreBackup(const cni::Request& request, const std::optional<Record>& record,
                           const std::string& dataDir) {
  FirstError outcome;
  std::set<std::string> files = filesOf(record);
  files.insert(backupFile(request, dataDir));
  std::optional<Sandbox> sandbox = openTuned(request, record);
  const auto link = sandbox ? sandbox->rtnl.findLink(request.ifName)
                            : Result<netlink::Link>(makeError(Errc::kNotFound, "no namespace"));
  for (const std::string& file : files) {
    if (link) outcome.note(restoreLink(sandbox->rtnl, link->index, readBackup(file)));
  }
  if (sandbox && record) outcome.note(restoreSysctls(sandbox->ns, sysctlsOf(*record)));
  for (const std::string& file : files)
    outcome.note(removeFile(file));
  outcome.note(record ? removeRecord(*record) : removeRecord(request, kPlugin));
  return std::move(outcome).take();
}

}  // namespace culvert::plugins
