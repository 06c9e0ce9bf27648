#include "plugins/shared/tables.h"

#include <linux/rtnetlink.h>
#include <sys/file.h>

#include <cerrno>

namespace culvert::plugins {

Result<std::set<std::uint32_t>> listUsedTables(netlink::Rtnl& rtnl) {
  std::set<std::uint32_t> used{RT_TABLE_UNSPEC, RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL};
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const netlink::RuleSpec& rule : TRY(rtnl.listRules(family)))
      used.insert(rule.table);
    for (const netlink::RouteSpec& route : TRY(rtnl.listRoutes(family)))
      used.insert(route.table.value_or(RT_TABLE_MAIN));
  }
  for (const netlink::Link& link : TRY(rtnl.listLinks())) {
    if (const auto* vrf = std::get_if<netlink::Vrf>(&link.data)) used.insert(vrf->table);
  }
  return used;
}

std::uint32_t takeFreeTable(std::set<std::uint32_t>& used, std::uint32_t first) {
  while (!used.insert(first).second)
    ++first;
  return first;
}

Result<TablesLock> TablesLock::acquire(const NetNs& ns) {
  while (::flock(ns.fd(), LOCK_EX) != 0) {
    if (errno != EINTR) return fromErrno(errno, "lock the network namespace");
  }
  return TablesLock(ns.fd());
}

TablesLock::~TablesLock() {
  if (fd_ >= 0) ::flock(fd_, LOCK_UN);
}

}  // namespace culvert::plugins
