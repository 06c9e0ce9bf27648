#include "plugins/sbr/sbr.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "cni/rollback.h"
#include "plugins/sbr/plan.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/record.h"
#include "plugins/shared/sandbox.h"
#include "plugins/shared/tables.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::Link;
using netlink::RouteSpec;
using netlink::Rtnl;
using netlink::RuleSpec;

constexpr char kPlugin[] = "sbr";

Result<void> refuseAdded(const cni::Request& request) {
  const auto record = TRY(findRecord(request, kPlugin));
  if (!record || !record->openNetns()) return {};
  return makeError(Errc::kAlreadyExists,
                   "'" + request.ifName + "' has its source-based routes already",
                   "this attachment was added before; DEL it first");
}

Result<void> refuseRules(Rtnl& rtnl, const std::vector<RuleSpec>& rules) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    const std::vector<RuleSpec> there = TRY(rtnl.listRules(family));
    for (const RuleSpec& rule : rules) {
      const bool found = std::any_of(there.begin(), there.end(), [&](const RuleSpec& other) {
        return other.source == rule.source && other.table == rule.table;
      });
      if (!found || rule.family != family) continue;
      return makeError(Errc::kAlreadyExists, "there is a rule from " + rule.source->text() +
                                                 " to table " + std::to_string(rule.table) +
                                                 " already");
    }
  }
  return {};
}

/// The link's routes in the main table.
Result<std::vector<RouteSpec>> listMainRoutes(Rtnl& rtnl, IfIndex link) {
  std::vector<RouteSpec> own;
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (RouteSpec& route : TRY(rtnl.listRoutes(family, RT_TABLE_MAIN))) {
      if (route.link == link) own.push_back(std::move(route));
    }
  }
  return own;
}

/// Tables before rules, and the main table last: there is a way for every packet at every moment.
Result<void> apply(Rtnl& rtnl, IfIndex link, const SbrPlan& plan) {
  for (RouteSpec route : plan.added) {
    route.link = link;
    TRY(rtnl.addRoute(route));
  }
  for (const RuleSpec& rule : plan.rules)
    TRY(rtnl.createRule(rule));
  for (const RouteSpec& route : plan.moved)
    TRY(ignoreNotFound(rtnl.removeRoute(route)));
  for (RouteSpec route : plan.hints) {
    route.link = link;
    TRY(rtnl.replaceRoute(route));
  }
  return {};
}

Result<void> removeRules(Rtnl& rtnl, const std::vector<RuleSpec>& rules) {
  FirstError outcome;
  for (const RuleSpec& rule : rules)
    outcome.note(ignoreNotFound(rtnl.removeRule(rule)));
  return std::move(outcome).take();
}

/// The reverse of apply(), as far as it got.
Result<void> undo(Rtnl& rtnl, const SbrPlan& plan, bool linkIsThere) {
  FirstError outcome;
  if (linkIsThere) {
    for (const RouteSpec& route : plan.hints)
      outcome.note(ignoreNotFound(rtnl.removeRoute(route)));
    for (const RouteSpec& route : plan.moved)
      outcome.note(ignoreNotFound(rtnl.addRoute(route)));
  }
  outcome.note(removeRules(rtnl, plan.rules));
  if (linkIsThere) {
    for (auto route = plan.added.rbegin(); route != plan.added.rend(); ++route)
      outcome.note(ignoreNotFound(rtnl.removeRoute(*route)));
  }
  return std::move(outcome).take();
}

Result<void> undoRecorded(const Record& record) {
  const auto ns = record.openNetns();
  if (!ns) return removeRecord(record);
  Rtnl rtnl = TRY(Rtnl::openIn(*ns));
  const IfIndex index = SbrPlan::linkOf(record);
  const auto link = rtnl.findLink(index);
  // Routes back into the main table are only for an interface that still has its addresses.
  TRY(undo(rtnl, SbrPlan::from(record), link && link->isUp()));
  return removeRecord(record);
}

Result<cni::AddResult> add(const cni::Request& request) {
  const SbrConfig config = TRY(parseSbrConfig(request));
  const cni::AddResult& previous = *TRY(requirePrevResult(request));
  if (addressesOf(previous, request.ifName).empty()) {
    return makeError(Errc::kInvalidConfig,
                     "prevResult has no addresses on '" + request.ifName + "' to route by");
  }
  Sandbox sandbox = TRY(Sandbox::open(request));
  const Link link = TRY(sandbox.rtnl.findLink(request.ifName));
  const TablesLock lock = TRY(TablesLock::acquire(sandbox.ns));
  TRY(refuseAdded(request));
  const SbrPlan plan =
      planSbr(config, previous, request.ifName, TRY(listMainRoutes(sandbox.rtnl, link.index)),
              TRY(listUsedTables(sandbox.rtnl)));
  TRY(refuseRules(sandbox.rtnl, plan.rules));

  cni::Rollback rollback;
  rollback.onFailure("remove rules and tables", [&]() -> Result<void> {
    const auto record = TRY(findRecord(request, kPlugin));
    return record ? undoRecorded(*record) : removeRecord(request, kPlugin);
  });
  TRY(writeRecord(request, kPlugin, plan.json(link.index)));
  TRY(apply(sandbox.rtnl, link.index, plan));
  rollback.dismiss();
  return previous;
}

/// What the reference made, of which no record tells: rules from the interface's addresses, and the
/// interface's routes in their tables unless the tables are somebody else's.
Result<void> removeUnrecorded(const cni::Request& request) {
  std::optional<Sandbox> sandbox = Sandbox::openIfPresent(request);
  if (!sandbox) return {};
  const auto link = sandbox->rtnl.findLink(request.ifName);
  if (!link) return ignoreNotFound(link);
  cni::Problems ignored;
  const auto table =
      cni::ConfigReader(*request.config, "", ignored).integer("table", 1, UINT32_MAX);
  FirstError outcome;
  const auto addresses = TRY(sandbox->rtnl.listAddresses(link->index));
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const RuleSpec& rule : TRY(sandbox->rtnl.listRules(family))) {
      const bool own = std::any_of(addresses.begin(), addresses.end(), [&](const auto& address) {
        return rule.source == IpPrefix::host(address.prefix.address());
      });
      if (!own || (table && rule.table != *table)) continue;
      outcome.note(ignoreNotFound(sandbox->rtnl.removeRule(rule)));
      if (table || rule.table == RT_TABLE_MAIN) continue;
      for (const RouteSpec& route : TRY(sandbox->rtnl.listRoutes(family, rule.table))) {
        if (route.link == link->index)
          outcome.note(ignoreNotFound(sandbox->rtnl.removeRoute(route)));
      }
    }
  }
  return std::move(outcome).take();
}

Result<void> del(const cni::Request& request) {
  const auto record = findRecord(request, kPlugin);
  if (record && *record) return undoRecorded(**record);
  FirstError outcome;
  outcome.note(removeUnrecorded(request));
  outcome.note(removeRecord(request, kPlugin));  // damaged, or never finished
  return std::move(outcome).take();
}

/// The table that a rule leads packets from `ip` to.
std::optional<std::uint32_t> findTable(const std::vector<RuleSpec>& rules, const IpPrefix& source,
                                       const std::optional<std::uint32_t>& wanted) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&](const RuleSpec& rule) {
    return rule.source == source && (!wanted || rule.table == *wanted);
  });
  if (found == rules.end()) return std::nullopt;
  return found->table;
}

Result<void> verifyDefault(Rtnl& rtnl, IfIndex link, std::uint32_t table,
                           const IpAddress& gateway) {
  const auto routes = TRY(rtnl.listRoutes(gateway.family(), table));
  const bool found = std::any_of(routes.begin(), routes.end(), [&](const RouteSpec& route) {
    return route.dst.isDefault() && route.link == link && route.gateway == gateway;
  });
  if (found) return {};
  return makeError(Errc::kCheckFailed, "table " + std::to_string(table) +
                                           " has no default route via " + gateway.text());
}

/// Every route that was put into the tables.
Result<void> verifyRecorded(Rtnl& rtnl, const Record& record) {
  const SbrPlan plan = SbrPlan::from(record);
  for (const RouteSpec& wanted : plan.added) {
    const auto routes = TRY(rtnl.listRoutes(wanted.dst.family(), *wanted.table));
    const bool found = std::any_of(routes.begin(), routes.end(), [&](const RouteSpec& route) {
      return route.dst == wanted.dst && route.gateway == wanted.gateway &&
             route.link == wanted.link;
    });
    if (!found) {
      return makeError(Errc::kCheckFailed, "route " + wanted.dst.text() + " is missing in table " +
                                               std::to_string(*wanted.table));
    }
  }
  return {};
}

Result<void> check(const cni::Request& request) {
  const SbrConfig config = TRY(parseSbrConfig(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  Rtnl& rtnl = sandbox.rtnl;
  const auto link = rtnl.findLink(request.ifName);
  if (!link) return makeError(Errc::kCheckFailed, "container interface: " + link.error().message);
  for (const cni::IpConfig& ip : addressesOf(result, request.ifName)) {
    const IpPrefix source = IpPrefix::host(ip.address.address());
    const auto rules = TRY(rtnl.listRules(source.family()));
    const auto table = findTable(rules, source, config.table);
    if (!table) {
      return makeError(Errc::kCheckFailed,
                       "there is no rule from " + source.text() + " to a routing table");
    }
    const auto gateway = gatewayOf(ip, config, result, {});
    if (!config.table && gateway) TRY(verifyDefault(rtnl, link->index, *table, *gateway));
  }
  const auto record = TRY(findRecord(request, kPlugin));
  return record ? verifyRecorded(rtnl, *record) : Result<void>();
}

Result<void> gc(const cni::Request& request) {
  if (!request.validAttachments) return {};
  FirstError outcome;
  for (const Record& record : TRY(listStaleRecords(request, kPlugin)))
    outcome.note(undoRecorded(record));
  return std::move(outcome).take();
}

/// Whether the kernel has routing by policy.
Result<void> status(const cni::Request& request) {
  TRY(parseSbrConfig(request));
  Rtnl rtnl = TRY(Rtnl::open());
  const auto rules = rtnl.listRules(Family::kV4);
  if (rules) return {};
  return makeError(Errc::kNotAvailable, "this kernel has no routing rules", rules.error().message);
}

}  // namespace

const cni::Plugin kSbr{.name = kPlugin,
                       .oldest = cni::Version::k010,
                       .add = add,
                       .del = del,
                       .check = check,
                       .gc = gc,
                       .status = status};

}  // namespace culvert::plugins
