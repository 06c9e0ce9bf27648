#include "plugins/tuning/tuning.h"

#include <net/if.h>

#include <algorithm>
#include <cerrno>

#include "cni/config_reader.h"
#include "cni/rollback.h"
#include "netlink/sysctl.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/record.h"
#include "plugins/shared/sandbox.h"
#include "plugins/tuning/allowlist.h"
#include "plugins/tuning/backup.h"
#include "plugins/tuning/config.h"

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::LinkChange;

constexpr char kPlugin[] = "tuning";

Result<void> refuseForbidden(const TuningConfig& config) {
  if (config.sysctls.empty()) return {};
  const auto list = TRY(Allowlist::read(kAllowlistFile));
  if (!list) return {};
  for (const Sysctl& sysctl : config.sysctls)
    TRY(list->permits(sysctl.key));
  return {};
}

/// Why a sysctl has no value to compare or keep: it can only be written (route/flush).
bool isWriteOnly(const Error& error) {
  return error.sysErrno == EACCES || error.sysErrno == EPERM;
}

/// The values of all sysctls, so that one that does not exist is refused before any is written;
/// those of the interface are kept.
Result<std::map<std::string, std::string>> readSysctls(const NetNs& ns,
                                                       const TuningConfig& config) {
  using Values = std::map<std::string, std::string>;
  return ns.run([&]() -> Result<Values> {
    Values values;
    for (const Sysctl& sysctl : config.sysctls) {
      auto value = netlink::readSysctl(sysctl.path);
      if (!value && isWriteOnly(value.error())) continue;
      if (!value && value.error().code == Errc::kNotFound) {
        return makeError(Errc::kInvalidConfig, "sysctl." + sysctl.key + ": there is no such sysctl",
                         value.error().message);
      }
      if (!value) return std::move(value).error().wrap("sysctl." + sysctl.key);
      if (sysctl.ofInterface) values[sysctl.path] = std::move(*value);
    }
    return values;
  });
}

LinkChange currentValues(const Link& link, const LinkChange& wanted) {
  LinkChange before;
  if (wanted.mac) before.mac = link.mac;
  if (wanted.mtuBytes) before.mtuBytes = link.mtuBytes;
  if (wanted.promiscuous) before.promiscuous = (link.flags & IFF_PROMISC) != 0;
  if (wanted.allMulticast) before.allMulticast = (link.flags & IFF_ALLMULTI) != 0;
  if (wanted.txQueueLength) before.txQueueLength = link.txQueueLength;
  return before;
}

Result<void> writeSysctls(const NetNs& ns, const TuningConfig& config) {
  if (config.sysctls.empty()) return {};
  return ns.run([&]() -> Result<void> {
    for (const Sysctl& sysctl : config.sysctls)
      TRY(netlink::writeSysctl(sysctl.path, sysctl.value).context("sysctl." + sysctl.key));
    return {};
  });
}

/// The result with what the interface has now.
cni::AddResult describe(cni::AddResult result, const cni::Request& request,
                        const LinkChange& change) {
  for (cni::Interface& interface : result.interfaces) {
    if (interface.name != request.ifName || interface.sandbox.empty()) continue;
    if (change.mac) interface.mac = change.mac->text();
    if (change.mtuBytes) interface.mtuBytes = *change.mtuBytes;
  }
  return result;
}

Result<cni::AddResult> add(const cni::Request& request) {
  const TuningConfig config = TRY(parseTuningConfig(request));
  TRY(refuseForbidden(config));
  const cni::AddResult& previous = *TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  const Link link = TRY(sandbox.rtnl.findLink(request.ifName));
  const TuningBackup before{.link = currentValues(link, config.link),
                            .sysctls = TRY(readSysctls(sandbox.ns, config))};

  cni::Rollback rollback;
  const bool first = !TRY(findRecord(request, kPlugin));
  if (!before.empty()) TRY(keepBackup(request, config, before));
  rollback.onFailure("restore what was there", [&]() -> Result<void> {
    FirstError outcome;
    outcome.note(restoreLink(sandbox.rtnl, link.index, before.link));
    outcome.note(restoreSysctls(sandbox.ns, before.sysctls));
    if (first)
      outcome.note(restoreBackup(request, TRY(findRecord(request, kPlugin)), config.dataDir));
    return std::move(outcome).take();
  });
  TRY(writeSysctls(sandbox.ns, config));
  if (!before.empty())
    TRY(sandbox.rtnl.changeLink(link.index, config.link).context("tune '" + request.ifName + "'"));
  rollback.dismiss();
  return describe(previous, request, config.link);
}

std::string configuredDataDir(const cni::Request& request) {
  cni::Problems ignored;
  std::string dir = cni::ConfigReader(*request.config, "", ignored).string("dataDir");
  return dir.starts_with('/') ? dir : kTuningDataDir;
}

Result<void> del(const cni::Request& request) {
  const auto record = findRecord(request, kPlugin);  // a damaged one: the file still counts
  return restoreBackup(request, record.value_or(std::nullopt), configuredDataDir(request));
}

/// As the kernel prints it: white space is one blank, however it was written.
std::string normalised(const std::string& value) {
  std::string text;
  for (const char c : value) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!blank) text += c;
    if (blank && !text.empty() && text.back() != ' ') text += ' ';
  }
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

Result<void> verifySysctls(const NetNs& ns, const TuningConfig& config) {
  return ns.run([&]() -> Result<void> {
    for (const Sysctl& sysctl : config.sysctls) {
      const auto value = netlink::readSysctl(sysctl.path);
      if (!value && isWriteOnly(value.error())) continue;
      if (!value)
        return makeError(Errc::kCheckFailed, "sysctl." + sysctl.key + ": " + value.error().message);
      if (normalised(*value) == normalised(sysctl.value)) continue;
      return makeError(Errc::kCheckFailed,
                       "sysctl." + sysctl.key + " is '" + *value + "', not '" + sysctl.value + "'");
    }
    return {};
  });
}

template <class T>
Result<void> verifyOne(const std::string& what, const std::optional<T>& wanted, const T& have,
                       const std::string& haveText) {
  if (!wanted || *wanted == have) return {};
  return makeError(Errc::kCheckFailed,
                   what + " is " + haveText + ", not what the configuration says");
}

Result<void> verifyLink(const Link& link, const LinkChange& wanted) {
  const auto verifyFlag = [&](const char* name, const std::optional<bool>& value, unsigned flag) {
    const bool on = (link.flags & flag) != 0;
    return verifyOne(name + (" of '" + link.name + "'"), value, on, on ? "on" : "off");
  };
  const MacAddress mac = link.mac.value_or(MacAddress());
  TRY(verifyOne("the MAC address of '" + link.name + "'", wanted.mac, mac, mac.text()));
  TRY(verifyOne("the MTU of '" + link.name + "'", wanted.mtuBytes, link.mtuBytes,
                std::to_string(link.mtuBytes)));
  TRY(verifyFlag("promisc", wanted.promiscuous, IFF_PROMISC));
  TRY(verifyFlag("allmulti", wanted.allMulticast, IFF_ALLMULTI));
  return verifyOne("txQLen of '" + link.name + "'", wanted.txQueueLength, link.txQueueLength,
                   std::to_string(link.txQueueLength));
}

Result<void> check(const cni::Request& request) {
  const TuningConfig config = TRY(parseTuningConfig(request));
  TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  const auto link = sandbox.rtnl.findLink(request.ifName);
  if (!link) return makeError(Errc::kCheckFailed, "container interface: " + link.error().message);
  TRY(verifySysctls(sandbox.ns, config));
  return verifyLink(*link, config.link);
}

Result<void> gc(const cni::Request& request) {
  if (!request.validAttachments) return {};
  FirstError outcome;
  for (const Record& record : TRY(listStaleRecords(request, kPlugin)))
    outcome.note(restoreBackup(requestFor(request, record), record, kTuningDataDir));
  return std::move(outcome).take();
}

/// Whether the node's administrator lets ADD do what is configured.
Result<void> status(const cni::Request& request) {
  const TuningConfig config = TRY(parseTuningConfig(request));
  auto permitted = refuseForbidden(config);
  if (!permitted) permitted.error().code = Errc::kNotAvailable;
  return permitted;
}

}  // namespace

const cni::Plugin kTuning{.name = kPlugin,
                          .oldest = cni::Version::k010,
                          .add = add,
                          .del = del,
                          .check = check,
                          .gc = gc,
                          .status = status};

}  // namespace culvert::plugins
