#include "plugins/vrf/vrf.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "cni/environment.h"
#include "cni/rollback.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/record.h"
#include "plugins/shared/sandbox.h"
#include "plugins/shared/tables.h"
#include "plugins/vrf/config.h"
#include "plugins/vrf/member.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::Link;
using netlink::RouteSpec;
using netlink::Rtnl;
using netlink::Vrf;

constexpr char kPlugin[] = "vrf";
constexpr std::uint32_t kFirstTable = 1;

struct Device {
  Link link;
  std::uint32_t table = 0;
};

/// Nothing if there is none; kInvalidConfig if something else has the name.
Result<std::optional<Device>> findVrf(Rtnl& rtnl, const std::string& name) {
  auto link = rtnl.findLink(name);
  if (!link && link.error().code == Errc::kNotFound) return std::optional<Device>();
  if (!link) return link.error();
  const auto* vrf = std::get_if<Vrf>(&link->data);
  if (vrf == nullptr)
    return makeError(Errc::kInvalidConfig, "vrfname: '" + name + "' in the container is no VRF");
  const std::uint32_t table = vrf->table;
  return std::optional(Device{std::move(*link), table});
}

Result<void> refuseOtherTable(const std::optional<Device>& vrf, const VrfConfig& config) {
  if (!vrf || config.table == 0 || vrf->table == config.table) return {};
  return makeError(Errc::kInvalidConfig, "table: VRF '" + config.name +
                                             "' already exists with different routing table " +
                                             std::to_string(vrf->table));
}

Result<void> refuseMaster(Rtnl& rtnl, const Link& link) {
  if (link.master == IfIndex::kNone) return {};
  const auto master = rtnl.findLink(link.master);
  return makeError(Errc::kAlreadyExists, "interface '" + link.name +
                                             "' has already a master set: " +
                                             (master ? master->name : "of another namespace"));
}

/// The VRF, up, with the table asked for or else one that no rule, route or VRF uses.
Result<Device> ensureVrf(Rtnl& rtnl, const VrfConfig& config) {
  auto vrf = TRY(findVrf(rtnl, config.name));
  if (!vrf) {
    std::uint32_t table = config.table;
    if (table == 0) {
      auto used = TRY(listUsedTables(rtnl));
      table = takeFreeTable(used, kFirstTable);
    }
    TRY(rtnl.createLink({.name = config.name, .kind = Vrf{table}, .mac = {}}));
    vrf = TRY(findVrf(rtnl, config.name));
    if (!vrf) return makeError(Errc::kNotFound, "VRF '" + config.name + "' is gone again");
  }
  if (!vrf->link.isUp()) TRY(rtnl.setUp(vrf->link.index));
  return std::move(*vrf);
}

/// A VRF that nothing is in.
Result<void> removeIfEmpty(Rtnl& rtnl, const std::string& name) {
  const auto link = rtnl.findLink(name);
  if (!link || link->kind != "vrf") return ignoreNotFound(link);
  if (!TRY(rtnl.listMembers(link->index)).empty()) return {};
  return ignoreNotFound(rtnl.removeLink(link->index));
}

/// Takes the interface out of the VRF, with what it has there or, if that is recorded, had before.
Result<void> takeOut(Rtnl& rtnl, const Link& link, const std::string& vrfName,
                     std::optional<Belongings> recorded) {
  const auto vrf = rtnl.findLink(vrfName);
  const bool member = vrf && vrf->kind == "vrf" && link.master == vrf->index;
  if (!member && !recorded) return {};
  if (member && !recorded) {
    const auto* data = std::get_if<Vrf>(&vrf->data);
    recorded = TRY(listBelongings(rtnl, link.index, data ? data->table : 0));
  }
  if (member) TRY(rtnl.setMaster(link.index, IfIndex::kNone));
  if (link.master != IfIndex::kNone && !member) return {};  // somebody else's by now
  if (!link.isUp()) return {};                              // routes are for links that are up
  return restoreBelongings(rtnl, link.index, std::move(*recorded), RT_TABLE_MAIN);
}

nlohmann::json recordDetails(const std::string& vrf, const Link& link, const Belongings& own) {
  nlohmann::json details = own.json();
  details["vrf"] = vrf;
  details["ifindex"] = static_cast<std::uint32_t>(link.index);
  return details;
}

Result<void> removeRecorded(const Record& record) {
  const auto ns = record.openNetns();
  if (!ns) return removeRecord(record);
  cni::Problems ignored;
  const cni::ConfigReader reader(record.details, "", ignored);
  const std::string vrf = reader.string("vrf");
  const auto index = static_cast<IfIndex>(reader.integer("ifindex", 0, INT32_MAX).value_or(0));
  Rtnl rtnl = TRY(Rtnl::openIn(*ns));
  const TablesLock lock = TRY(TablesLock::acquire(*ns));
  FirstError outcome;
  const auto link = rtnl.findLink(index);
  if (link) outcome.note(takeOut(rtnl, *link, vrf, Belongings::from(reader, index)));
  outcome.note(removeIfEmpty(rtnl, vrf));
  TRY(std::move(outcome).take());
  return removeRecord(record);
}

Result<cni::AddResult> add(const cni::Request& request) {
  const VrfConfig config = TRY(parseVrfConfig(request));
  const cni::AddResult& previous = *TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  Rtnl& rtnl = sandbox.rtnl;
  std::optional<TablesLock> lock = TRY(TablesLock::acquire(sandbox.ns));
  const Link link = TRY(rtnl.findLink(request.ifName));
  TRY(refuseMaster(rtnl, link));
  const auto present = TRY(findVrf(rtnl, config.name));
  TRY(refuseOtherTable(present, config));
  const Belongings own = TRY(listBelongings(rtnl, link.index, RT_TABLE_MAIN));

  cni::Rollback rollback;
  rollback.onFailure("leave the VRF", [&]() -> Result<void> {
    lock.reset();
    const auto record = TRY(findRecord(request, kPlugin));
    return record ? removeRecorded(*record) : removeRecord(request, kPlugin);
  });
  TRY(writeRecord(request, kPlugin, recordDetails(config.name, link, own)));
  const Device vrf = TRY(ensureVrf(rtnl, config));
  TRY(rtnl.setMaster(link.index, vrf.link.index)
          .context("put '" + request.ifName + "' into VRF '" + config.name + "'"));
  TRY(restoreBelongings(rtnl, link.index, own, vrf.table)
          .context("VRF '" + config.name + "', table " + std::to_string(vrf.table)));
  rollback.dismiss();
  return previous;
}

/// What the reference made, of which no record tells.
Result<void> removeUnrecorded(const cni::Request& request) {
  cni::Problems ignored;
  const std::string vrf = cni::ConfigReader(*request.config, "", ignored).string("vrfname");
  std::optional<Sandbox> sandbox = Sandbox::openIfPresent(request);
  if (!sandbox || vrf.empty() || cni::interfaceNameProblem(vrf)) return {};
  const TablesLock lock = TRY(TablesLock::acquire(sandbox->ns));
  FirstError outcome;
  const auto link = sandbox->rtnl.findLink(request.ifName);
  if (link) outcome.note(takeOut(sandbox->rtnl, *link, vrf, std::nullopt));
  outcome.note(removeIfEmpty(sandbox->rtnl, vrf));
  return std::move(outcome).take();
}

Result<void> del(const cni::Request& request) {
  const auto record = findRecord(request, kPlugin);
  if (record && *record) return removeRecorded(**record);
  FirstError outcome;
  outcome.note(removeUnrecorded(request));
  outcome.note(removeRecord(request, kPlugin));  // damaged, or never finished
  return std::move(outcome).take();
}

Result<void> verifyRoutes(Rtnl& rtnl, const Record& record, IfIndex link, std::uint32_t table) {
  cni::Problems ignored;
  const cni::ConfigReader reader(record.details, "", ignored);
  for (const RouteSpec& wanted : Belongings::from(reader, link).routes) {
    const auto routes = TRY(rtnl.listRoutes(wanted.dst.family(), table));
    const bool found = std::any_of(routes.begin(), routes.end(), [&](const RouteSpec& route) {
      return route.dst == wanted.dst && route.link == link && route.gateway == wanted.gateway;
    });
    if (!found) {
      return makeError(Errc::kCheckFailed, "route " + wanted.dst.text() + " is missing in table " +
                                               std::to_string(table) + " of the VRF");
    }
  }
  return {};
}

Result<void> check(const cni::Request& request) {
  const VrfConfig config = TRY(parseVrfConfig(request));
  TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  const auto vrf = findVrf(sandbox.rtnl, config.name);
  if (!vrf || !*vrf)
    return makeError(Errc::kCheckFailed, "there is no VRF '" + config.name + "' in the container");
  const Device& device = **vrf;
  if (config.table != 0 && device.table != config.table) {
    return makeError(Errc::kCheckFailed, "VRF '" + config.name + "' has table " +
                                             std::to_string(device.table) + ", not " +
                                             std::to_string(config.table));
  }
  if (!device.link.isUp())
    return makeError(Errc::kCheckFailed, "VRF '" + config.name + "' is down");
  const auto link = sandbox.rtnl.findLink(request.ifName);
  if (!link || link->master != device.link.index) {
    return makeError(Errc::kCheckFailed,
                     "'" + request.ifName + "' is not in VRF '" + config.name + "'");
  }
  const auto record = TRY(findRecord(request, kPlugin));
  return record ? verifyRoutes(sandbox.rtnl, *record, link->index, device.table) : Result<void>();
}

Result<void> gc(const cni::Request& request) {
  if (!request.validAttachments) return {};
  FirstError outcome;
  for (const Record& record : TRY(listStaleRecords(request, kPlugin)))
    outcome.note(removeRecorded(record));
  return std::move(outcome).take();
}

Result<void> status(const cni::Request& request) {
  TRY(parseVrfConfig(request));
  Rtnl host = TRY(Rtnl::open());
  if (TRY(host.knowsLinkKind(Vrf{kFirstTable}))) return {};
  return makeError(Errc::kNotAvailable, "this kernel has no VRFs");
}

}  // namespace

const cni::Plugin kVrf{.name = kPlugin,
                       .oldest = cni::Version::k031,
                       .add = add,
                       .del = del,
                       .check = check,
                       .gc = gc,
                       .status = status};

}  // namespace culvert::plugins
