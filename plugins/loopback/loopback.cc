#include "plugins/loopback/loopback.h"

#include <net/if.h>

#include <algorithm>

#include "plugins/shared/layer3.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

using netlink::Address;
using netlink::Link;

/// The first address of each family; anything but a loopback address on `lo` is refused.
Result<std::vector<cni::IpConfig>> readAddresses(Sandbox& sandbox, const Link& lo) {
  std::vector<cni::IpConfig> ips;
  for (const Address& address : TRY(sandbox.rtnl.listAddresses(lo.index))) {
    if (!address.prefix.address().isLoopback()) {
      return makeError(Errc::kInvalidConfig,
                       "loopback interface is found with non-loopback address \"" +
                           address.prefix.text() + "\"");
    }
    const bool known = std::any_of(ips.begin(), ips.end(), [&](const cni::IpConfig& ip) {
      return ip.address.family() == address.prefix.family();
    });
    if (!known) ips.push_back({.address = address.prefix, .gateway = {}, .interface = 0});
  }
  return ips;
}

Result<cni::AddResult> add(const cni::Request& request) {
  Sandbox sandbox = TRY(Sandbox::open(request));
  const Link lo = TRY(sandbox.rtnl.findLink("lo"));
  TRY(sandbox.rtnl.setUp(lo.index).context("set lo up"));
  std::vector<cni::IpConfig> ips = TRY(readAddresses(sandbox, lo));
  if (request.prevResult) return *request.prevResult;
  cni::Interface interface {
    .name = "lo", .mac = MacAddress().text(), .mtuBytes = lo.mtuBytes, .sandbox = request.netnsPath,
    .socketPath = {}, .pciId = {}
  };
  return cni::AddResult{
      .interfaces = {std::move(interface)}, .ips = std::move(ips), .routes = {}, .dns = {}};
}

Result<void> del(const cni::Request& request) {
  std::optional<Sandbox> sandbox = Sandbox::openIfPresent(request);
  if (!sandbox) return {};
  const Link lo = TRY(sandbox->rtnl.findLink("lo"));
  return sandbox->rtnl.setDown(lo.index).context("set lo down");
}

Result<void> check(const cni::Request& request) {
  TRY(requirePrevResult(request));
  Sandbox sandbox = TRY(Sandbox::open(request));
  const Link lo = TRY(sandbox.rtnl.findLink("lo"));
  if (!lo.isUp()) return makeError(Errc::kCheckFailed, "loopback interface is down");
  return {};
}

Result<void> nothingToDo(const cni::Request&) {
  return {};
}

}  // namespace

const cni::Plugin kLoopback{.name = "loopback",
                            .oldest = cni::Version::k010,
                            .add = add,
                            .del = del,
                            .check = check,
                            .gc = nothingToDo,
                            .status = nothingToDo};

}  // namespace culvert::plugins
