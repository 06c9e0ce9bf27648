#include "ipam/dhcp/dhcp.h"

#include <algorithm>
#include <set>

#include "ipam/dhcp/config.h"
#include "ipam/dhcp/daemon_client.h"
#include "ipam/dhcp/link.h"
#include "ipam/dhcp/release.h"

namespace culvert::ipam {
namespace {

using namespace dhcp;

constexpr Duration kQuick{2000};  // what the daemon answers from memory
constexpr Duration kSlow{5000};   // what may take a server's reply

/// No daemon: the runtime shall try again (code 11); it may be starting.
template <class T>
Result<T> tryLater(Result<T> result) {
  if (!result && result.error().code == Errc::kNotAvailable) result.error().code = Errc::kTryAgain;
  return result;
}

Result<cni::AddResult> add(const cni::Request& request) {
  const Config config = TRY(parseConfig(request));
  const DaemonClient daemon = TRY(tryLater(DaemonClient::connect(config.socketPath)));
  TRY(prepareLink(request.netnsPath, request.ifName, config.order.v6));
  const Leases leases = TRY(tryLater(daemon.ask(
      {.method = Method::kAllocate, .order = config.order, .network = {}, .valid = {}}, {})));
  return toResult(leases, config.priority);
}

/// Gives back what is on disk, without the daemon, and forgets it: a daemon that starts later finds
/// nothing to adopt, and one that runs lets go.
Result<void> releaseRecord(const Store& store, const std::string& key) {
  const Result<Record> record = store.read(key);
  if (!record && record.error().code == Errc::kNotFound) return {};
  FirstError outcome;
  if (record) outcome.note(releaseDirectly(*record));
  outcome.note(store.remove(key));
  return std::move(outcome).take();
}

Result<Leases> askBriefly(const Config& config, DaemonRequest request, Duration patience) {
  const DaemonClient daemon = TRY(DaemonClient::connect(config.socketPath));
  return daemon.ask(request, patience);
}

Result<void> del(const cni::Request& request) {
  const Config config = TRY(parsePaths(request));
  const auto released = askBriefly(
      config, {.method = Method::kRelease, .order = config.order, .network = {}, .valid = {}},
      kSlow);
  if (!released && released.error().code != Errc::kNotAvailable) return released.error();
  // Also with a daemon: it may have begun without knowing this record, or with another directory.
  return releaseRecord(Store(config.stateDir), config.order.key());
}

Result<void> check(const cni::Request& request) {
  const Config config = TRY(parseConfig(request));
  if (!request.prevResult)
    return makeError(Errc::kInvalidConfig, "dhcp: Required prevResult missing");
  const auto answer = tryLater(askBriefly(
      config, {.method = Method::kLookUp, .order = config.order, .network = {}, .valid = {}},
      kQuick));
  if (!answer && answer.error().code == Errc::kNotFound)
    return makeError(Errc::kCheckFailed, "dhcp: " + answer.error().message);
  const Leases leases = TRY(answer);
  const auto said = [&](const IpPrefix& address) {
    return std::any_of(request.prevResult->ips.begin(), request.prevResult->ips.end(),
                       [&](const cni::IpConfig& ip) { return ip.address == address; });
  };
  for (const cni::IpConfig& leased : toResult(leases, 0).ips) {
    if (!said(leased.address))
      return makeError(Errc::kCheckFailed,
                       "dhcp: the leased " + leased.address.text() + " is not in prevResult");
  }
  if (config.order.v4 && !leases.v4)
    return makeError(Errc::kCheckFailed, "dhcp: the lease is over");
  if (config.order.v6 && !leases.v6)
    return makeError(Errc::kCheckFailed, "dhcp: the DHCPv6 lease is over");
  return {};
}

/// GC without a daemon.
Result<void> collectRecords(const Store& store, const cni::Request& request) {
  std::set<std::string> valid;
  for (const Attachment& each : *request.validAttachments)
    valid.insert(recordKey(request.network, each.containerId, each.ifName));
  FirstError outcome;
  for (const std::string& key : TRY(store.list(request.network))) {
    if (!valid.contains(key)) outcome.note(releaseRecord(store, key));
  }
  return std::move(outcome).take();
}

Result<void> gc(const cni::Request& request) {
  const Config config = TRY(parsePaths(request));
  if (!request.validAttachments) return {};
  const auto collected = askBriefly(config,
                                    {.method = Method::kCollect,
                                     .order = {},
                                     .network = request.network,
                                     .valid = *request.validAttachments},
                                    kSlow);
  if (!collected && collected.error().code != Errc::kNotAvailable) return collected.error();
  return collectRecords(Store(config.stateDir), request);
}

Result<void> status(const cni::Request& request) {
  const Config config = TRY(parseConfig(request));
  const auto alive = askBriefly(config, {.method = Method::kPing}, kQuick);
  if (alive) return {};
  Error error = alive.error();
  error.code = Errc::kNotAvailable;
  return error;
}

}  // namespace

const cni::Plugin kDhcp{.name = "dhcp",
                        .oldest = cni::Version::k010,
                        .add = add,
                        .del = del,
                        .check = check,
                        .gc = gc,
                        .status = status};

}  // namespace culvert::ipam
