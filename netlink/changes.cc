#include "netlink/changes.h"

#include <algorithm>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

using How = Change::How;

/// How much is sent at once: well below net.core.wmem_default (212,992).
constexpr std::size_t kBytesAtOnce = std::size_t{32} * 1024;
/// For failures. The kernel's words are some 100 bytes; a message that waits takes about 1 KiB.
constexpr std::size_t kReceiveBytes = std::size_t{1024} * 1024;
constexpr std::size_t kBytesPerFailure = 2048;

std::uint16_t flagsOf(How how) {
  if (how == How::kRemove) return 0;
  return NLM_F_CREATE | (how == How::kCreate ? NLM_F_EXCL : NLM_F_REPLACE);
}

/// RTM_NEW… or the RTM_DEL… that follows it.
std::uint16_t typeOf(How how, int newType) {
  return static_cast<std::uint16_t>(newType + (how == How::kRemove ? 1 : 0));
}

void put(Batch& batch, How how, const NexthopSpec& nexthop) {
  if (how == How::kRemove) return putNexthopRemoval(batch, nexthop.id);
  putNexthop(batch, flagsOf(how), nexthop);
}
void put(Batch& batch, How how, const NeighbourSpec& neighbour) {
  putNeighbour(batch, typeOf(how, RTM_NEWNEIGH), flagsOf(how), neighbour);
}
void put(Batch& batch, How how, const FdbEntry& entry) {
  putFdbEntry(batch, typeOf(how, RTM_NEWNEIGH), flagsOf(how), entry);
}
void put(Batch& batch, How how, const RouteSpec& route) {
  putRoute(batch, typeOf(how, RTM_NEWROUTE), flagsOf(how), route);
}

std::string describe(const NeighbourSpec& neighbour) {
  return "neighbour " + neighbour.address.text();
}
std::string routeText(const RouteSpec& route) {
  return "route " + culvert::netlink::describe(route);
}

struct Describe {
  std::string operator()(const NexthopSpec& nexthop) const {
    return culvert::netlink::describe(nexthop);
  }
  std::string operator()(const FdbEntry& entry) const { return culvert::netlink::describe(entry); }
  std::string operator()(const NeighbourSpec& neighbour) const { return describe(neighbour); }
  std::string operator()(const RouteSpec& route) const { return routeText(route); }
};

/// Packs changes from `next` on; advances it past them.
Batch pack(const std::vector<Change>& changes, std::size_t most, std::size_t& next) {
  Batch batch;
  batch.reserve(kBytesAtOnce + 4096);
  for (; next < changes.size() && batch.count() < most && batch.sizeBytes() < kBytesAtOnce;
       ++next) {
    const Change& change = changes[next];
    std::visit([&](const auto& object) { put(batch, change.how, object); }, change.object);
  }
  return batch;
}

/// 0 nexthop, 1 group, 2 neighbour, 3 forwarding entry, 4 route; removals behind, other way round.
int rankOf(const Change& change) {
  const auto kind = static_cast<int>(change.object.index());
  const auto* nexthop = std::get_if<NexthopSpec>(&change.object);
  const int rank = nexthop != nullptr && nexthop->group.empty() ? 0 : kind + 1;
  return change.how == How::kRemove ? 9 - rank : rank;
}

bool isFine(const Change& change, const Error& error) {
  return change.how == How::kRemove && error.code == Errc::kNotFound;
}

}  // namespace

std::string describe(const Change& change) {
  const char* verb = change.how == How::kRemove   ? "remove "
                     : change.how == How::kCreate ? "create "
                                                  : "replace ";
  return verb + std::visit(Describe(), change.object);
}

void sortForApplying(std::vector<Change>& changes) {
  std::stable_sort(changes.begin(), changes.end(),
                   [](const Change& a, const Change& b) { return rankOf(a) < rankOf(b); });
}

Result<std::vector<ChangeFailure>> applyChanges(Rtnl& rtnl, const std::vector<Change>& changes) {
  Socket& socket = rtnl.socket();
  std::size_t room = socket.receiveBufferBytes();
  if (room < kReceiveBytes && changes.size() > 1) room = socket.growReceiveBuffer(kReceiveBytes);
  const std::size_t most = std::max<std::size_t>(room / kBytesPerFailure, 1);
  std::vector<ChangeFailure> failures;
  for (std::size_t next = 0; next < changes.size();) {
    const std::size_t first = next;
    Batch batch = pack(changes, most, next);
    for (auto& failure : TRY(socket.transactQuietly(batch).context("apply changes"))) {
      const std::size_t index = first + failure.index;
      if (isFine(changes[index], failure.error)) continue;
      failures.push_back({index, std::move(failure.error).wrap(describe(changes[index]))});
    }
  }
  return failures;
}

}  // namespace culvert::netlink
