#include "ipam/static/static.h"

#include <algorithm>

#include "ipam/static/config.h"

namespace culvert::ipam {
namespace {

Result<cni::AddResult> add(const cni::Request& request) {
  const StaticConfig config = TRY(parseStatic(request));
  cni::AddResult result;
  for (const StaticConfig::Address& each : config.addresses) {
    result.ips.push_back({.address = each.address, .gateway = each.gateway, .interface = {}});
  }
  result.routes = config.routes;
  result.dns = config.dns;
  return result;
}

/// There is nothing to release, so not even a broken configuration stands in the way.
Result<void> del(const cni::Request&) {
  return {};
}

std::string gatewayText(const std::optional<IpAddress>& gateway) {
  return gateway ? gateway->text() : "none";
}

/// What is wrong with this address in prevResult, or nothing.
std::string mismatch(const StaticConfig::Address& wanted, const std::vector<cni::IpConfig>& ips) {
  const auto found = std::find_if(ips.begin(), ips.end(), [&](const cni::IpConfig& ip) {
    return ip.address == wanted.address;
  });
  if (found == ips.end()) return wanted.address.text() + " is not in prevResult";
  if (!wanted.gateway || found->gateway == wanted.gateway) return {};
  return wanted.address.text() + " has gateway " + gatewayText(found->gateway) +
         " in prevResult instead of " + gatewayText(wanted.gateway);
}

Result<void> check(const cni::Request& request) {
  const StaticConfig config = TRY(parseStatic(request));
  if (!request.prevResult) {
    return makeError(Errc::kInvalidConfig, "static: Required prevResult missing");
  }
  std::string wrong;
  for (const StaticConfig::Address& each : config.addresses) {
    const std::string what = mismatch(each, request.prevResult->ips);
    if (!what.empty()) wrong += (wrong.empty() ? "" : "; ") + what;
  }
  if (wrong.empty()) return {};
  return makeError(Errc::kCheckFailed, "static: " + wrong);
}

/// Nothing is kept, so nothing is collected.
Result<void> gc(const cni::Request&) {
  return {};
}

Result<void> status(const cni::Request& request) {
  TRY(parseStatic(request));
  return {};
}

}  // namespace

const cni::Plugin kStatic{.name = "static",
                          .oldest = cni::Version::k010,
                          .add = add,
                          .del = del,
                          .check = check,
                          .gc = gc,
                          .status = status};

}  // namespace culvert::ipam
