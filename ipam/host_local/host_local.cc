#include "ipam/host_local/host_local.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ipam/host_local/allocator.h"
#include "ipam/host_local/config.h"
#include "ipam/host_local/disk_store.h"
#include "ipam/host_local/garbage.h"
#include "ipam/host_local/pod_addresses.h"
#include "ipam/host_local/resolv_conf.h"

namespace culvert::ipam {
namespace {

Owner ownerOf(const cni::Request& request) {
  return {request.containerId, request.ifName};
}

Result<cni::AddResult> add(const cni::Request& request) {
  const cni::Request answered = TRY(withPodAddresses(request));
  const HostLocalConfig config = TRY(parseHostLocal(answered));
  cni::AddResult result;
  result.routes = config.routes;
  if (!config.resolvConf.empty()) {
    result.dns = TRY(readResolvConf(config.resolvConf).context("ipam.resolvConf"));
  }
  DiskStore store = TRY(DiskStore::ensure(config.directory));
  result.ips = TRY(allocate(store, config, ownerOf(request)));
  return result;
}

Result<void> del(const cni::Request& request) {
  const std::string directory = TRY(parseDirectory(request));
  auto store = DiskStore::open(directory);
  if (!store) return ignoreNotFound(std::move(store));
  FirstError outcome;
  for (const IpAddress& address : TRY(store->findByOwner(ownerOf(request)))) {
    outcome.note(store->release(address));
  }
  return std::move(outcome).take();
}

bool belongsTo(const Reservation& reservation, const Owner& owner) {
  const Owner* found = std::get_if<Owner>(&reservation);
  return found != nullptr && (*found == owner || *found == owner.legacy());
}

/// The addresses of prevResult that are ours to give.
std::vector<IpAddress> ourAddresses(const cni::Request& request, const HostLocalConfig& config) {
  std::vector<IpAddress> addresses;
  if (!request.prevResult) return addresses;
  for (const cni::IpConfig& ip : request.prevResult->ips) {
    for (const RangeSet& set : config.sets) {
      if (rangeOf(set, ip.address.address()) != nullptr) addresses.push_back(ip.address.address());
    }
  }
  return addresses;
}

Result<void> checkReserved(const ReservationDirectory& directory,
                           const std::vector<IpAddress>& addresses, const Owner& owner) {
  std::string missing;
  for (const IpAddress& address : addresses) {
    const Reservation reservation = TRY(directory.read(address.text()));
    if (!belongsTo(reservation, owner)) missing += " " + address.text();
  }
  if (missing.empty()) return {};
  return makeError(Errc::kCheckFailed, "host-local: not reserved for container " +
                                           owner.containerId + ", interface " + owner.ifName + ":" +
                                           missing);
}

Result<void> check(const cni::Request& request) {
  const HostLocalConfig config = TRY(parseHostLocal(request));
  const Owner owner = ownerOf(request);
  const std::vector<IpAddress> addresses = ourAddresses(request, config);
  if (!addresses.empty()) {
    const auto directory = ReservationDirectory::open(config.directory);
    if (directory) return checkReserved(*directory, addresses, owner);
  }
  auto store = DiskStore::open(config.directory);
  if (!store && store.error().code != Errc::kNotFound) return std::move(store).error();
  if (store && !TRY(store->findByOwner(owner)).empty()) return {};
  return makeError(Errc::kCheckFailed, "host-local: Failed to find address added by container " +
                                           owner.containerId + " in " + config.directory);
}

Result<void> gc(const cni::Request& request) {
  const std::string directory = TRY(parseDirectory(request));
  if (!request.validAttachments) return {};
  auto store = DiskStore::open(directory);
  if (!store) return ignoreNotFound(std::move(store));
  const GarbageRule rule(*request.validAttachments);
  return store->collect(
      [&](const Reservation& reservation) { return rule.isGarbage(reservation); });
}

/// Whether ADD could create the directory: the nearest ancestor that exists is one to write in.
Result<void> checkCanCreate(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  const std::string parent =
      slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  if (::faccessat(AT_FDCWD, parent.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  if (errno == ENOENT && parent != "/" && parent != ".") return checkCanCreate(parent);
  return fromErrno(errno, "cannot create directories in " + parent);
}

Result<void> checkNotExhausted(const ReservationView& view, const std::vector<RangeSet>& sets) {
  std::string exhausted;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (TRY(hasFreeAddress(view, sets[i], i))) continue;
    exhausted += (exhausted.empty() ? "" : "; ") +
                 ("no IP addresses available in range set: " + rangeSetText(sets[i]));
  }
  if (exhausted.empty()) return {};
  return makeError(Errc::kNotAvailable, exhausted,
                   "every address is reserved; GC releases those of containers that are gone");
}

Result<void> checkCanServe(const HostLocalConfig& config) {
  const auto directory = ReservationDirectory::open(config.directory);
  if (!directory && directory.error().code == Errc::kNotFound) {
    return checkCanCreate(config.directory);
  }
  if (!directory) return directory.error();
  TRY(directory->checkUsable().context(config.directory));
  return checkNotExhausted(*directory, config.sets);
}

/// Takes no lock and changes nothing, so its answer holds for a moment only.
Result<void> status(const cni::Request& request) {
  const HostLocalConfig config = TRY(parseForStatus(request));
  Result<void> outcome = checkCanServe(config);
  if (!outcome) outcome.error().code = Errc::kNotAvailable;
  return outcome;
}

}  // namespace

const cni::Plugin kHostLocal{.name = "host-local",
                             .oldest = cni::Version::k010,
                             .add = add,
                             .del = del,
                             .check = check,
                             .gc = gc,
                             .status = status};

}  // namespace culvert::ipam
