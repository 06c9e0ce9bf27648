#include "daemons/routing/cleanup.h"

#include <unistd.h>

#include <cerrno>

#include "daemons/routing/devices.h"
#include "daemons/routing/fib.h"
#include "daemons/routing/node_table.h"

namespace culvert::routing {
namespace {

using Removed = std::function<void(const std::string&)>;

Result<void> removeRoutes(netlink::Rtnl& rtnl, const Removed& removed) {
  constexpr std::string_view kVerb = "remove ";  // of describe()
  const auto changes = diff(TRY(readFib(rtnl, {})), {});
  const auto failures = TRY(netlink::applyChanges(rtnl, changes));
  std::size_t failed = 0;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (failed < failures.size() && failures[failed].index == i)
      ++failed;
    else
      removed(describe(changes[i]).substr(kVerb.size()));
  }
  if (failures.empty()) return {};
  return failures.front().error;
}

Result<void> removeDevices(netlink::Rtnl& rtnl, const Removed& removed) {
  FirstError outcome;
  for (const netlink::Link& link : TRY(listDevices(rtnl, {}))) {
    auto gone = ignoreNotFound(rtnl.removeLink(link.index));
    if (gone) removed("device " + link.name);
    outcome.note(std::move(gone));
  }
  return std::move(outcome).take();
}

Result<void> removeTable(const Removed& removed) {
  auto nft = TRY(nft::Connection::open());
  if (TRY(NodeTable(nft).remove())) removed("table inet culvert_routing");
  return {};
}

Result<void> removeFiles(const std::vector<std::string>& files, const Removed& removed) {
  FirstError outcome;
  for (const std::string& file : files) {
    if (::unlink(file.c_str()) == 0)
      removed("file " + file);
    else if (errno != ENOENT)
      outcome.note(fromErrno(errno, "remove " + file));
  }
  return std::move(outcome).take();
}

}  // namespace

Result<void> cleanUp(const std::vector<std::string>& files, const Removed& removed) {
  auto rtnl = TRY(netlink::Rtnl::open());
  FirstError outcome;
  outcome.note(removeRoutes(rtnl, removed));
  outcome.note(removeDevices(rtnl, removed));
  outcome.note(removeTable(removed));
  outcome.note(removeFiles(files, removed));
  return std::move(outcome).take();
}

}  // namespace culvert::routing
