#include "daemons/routing/address_report.h"

#include <net/if.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "daemons/routing/blocks.h"
#include "hostfw/owner.h"
#include "ipam/host_local/reservation_directory.h"

namespace culvert::routing {
namespace {

using nlohmann::json;

/// An ADD has made the pod's link long before that.
constexpr std::chrono::seconds kAddTime{60};

bool isIn(const std::vector<IpPrefix>& networks, const IpAddress& address) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const IpPrefix& network) { return network.contains(address); });
}

json networkRow(const AddressView& view, const IpPrefix& network, const std::string& node,
                const std::string& from) {
  const auto owned = view.model.claimedBy(node);
  const bool owns = std::find(owned.begin(), owned.end(), network) != owned.end();
  const char* state = view.model.find(node) == nullptr ? "leaked" : owns ? "in use" : "conflict";
  json row = {{"network", network.text()}, {"node", node}, {"from", from}, {"state", state}};
  if (view.reservations == nullptr || node != view.model.thisNode()) return row;
  const std::uint64_t used = countIn(view.reservations->all(), network);
  row["used"] = used;
  row["free"] = capacityOf(network) - std::min(used, capacityOf(network));
  return row;
}

/// Unknown if it cannot be found out; then the address counts as young.
bool isOld(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return false;
  const auto made = std::chrono::system_clock::from_time_t(info.st_mtim.tv_sec);
  return std::chrono::system_clock::now() - made > kAddTime;
}

/// A pod's namespace takes both ends of its link with it: without the host's end, there is no pod.
Holder judge(const AddressView& view, const IpAddress& address, const ipam::Owner& owner) {
  Holder holder{Holder::State::kInUse, owner.containerId, owner.ifName};
  const std::string link = hostfw::hostVethName({view.network, owner.containerId, owner.ifName});
  const std::string path = view.reservations->directory() + "/" + address.text();
  if (!owner.isLegacy() && ::if_nametoindex(link.c_str()) == 0 && isOld(path))
    holder.state = Holder::State::kLeaked;
  else if (!isIn(view.model.ownNetworks(), address))
    holder.state = Holder::State::kOutside;
  return holder;
}

void addBlockProblems(const AddressView& view, std::vector<Problem>& problems) {
  const auto pools = view.model.pools();
  for (const auto& [name, block] : view.model.blocks()) {
    const std::string what = "block " + block->cidr.text() + " of node " + block->node;
    if (view.model.find(block->node) == nullptr)
      problems.push_back({what + ", which is gone",
                          "it goes by itself, or: culvertctl ipam release " + block->cidr.text()});
    if (!poolOf(pools, block->cidr.address()))
      problems.push_back({what + " is in no pool", "add the pool, or drain the node"});
  }
}

void addAddressProblems(const AddressView& view, std::vector<Problem>& problems) {
  if (view.reservations == nullptr) return;
  for (const IpAddress& address : view.reservations->all()) {
    const auto holder = holderOf(view, address);
    if (!holder) continue;
    const std::string what = address.text() + " of container " + holder->container;
    if (holder->state == Holder::State::kLeaked)
      problems.push_back({what + ", which is gone", "culvertctl ipam release " + address.text()});
    if (holder->state == Holder::State::kOutside)
      problems.push_back({what + " is in no network of this node", "delete the pod"});
  }
}

}  // namespace

json networksReport(const AddressView& view) {
  json list = json::array();
  for (const auto& [name, node] : view.model.nodes()) {
    for (const IpPrefix& cidr : node->podCidrs)
      list.push_back(networkRow(view, cidr, name, "podCIDRs"));
  }
  for (const auto& [name, block] : view.model.blocks())
    list.push_back(networkRow(view, block->cidr, block->node, "pool " + block->pool));
  return list;
}

json poolsReport(const AddressView& view) {
  json list = json::array();
  for (const objects::IpPool& pool : view.model.pools()) {
    std::uint64_t taken = 0, own = 0;
    for (const auto& [name, block] : view.model.blocks()) {
      if (!pool.cidr.contains(block->cidr.address())) continue;
      ++taken;
      own += block->node == view.model.thisNode() ? 1 : 0;
    }
    const std::uint64_t all = blockCount(pool);
    json row = {{"pool", pool.meta.name},
                {"cidr", pool.cidr.text()},
                {"blockSize", pool.blockLength},
                {"blocks", all},
                {"taken", taken},
                {"free", all - std::min(taken, all)},
                {"ofThisNode", own},
                {"nodeSelector", pool.nodeSelector},
                {"state", pool.disabled     ? "disabled"
                          : !pool.automatic ? "manual"
                          : taken >= all    ? "full"
                                            : "ok"}};
    if (view.reservations != nullptr)
      row["addressesUsed"] = countIn(view.reservations->all(), pool.cidr);
    list.push_back(std::move(row));
  }
  return list;
}

std::string toText(Holder::State state) {
  switch (state) {
    case Holder::State::kInUse:
      return "in use";
    case Holder::State::kLeaked:
      return "leaked";
    case Holder::State::kByHand:
      return "kept back";
    case Holder::State::kOutside:
      return "outside";
  }
  return "";
}

Result<Holder> holderOf(const AddressView& view, const IpAddress& address) {
  if (view.reservations == nullptr)
    return makeError(Errc::kNotAvailable, "this daemon has no role that gives addresses to pods");
  const auto directory = TRY(ipam::ReservationDirectory::open(view.reservations->directory()));
  if (!TRY(directory.isReserved(address)))
    return makeError(Errc::kNotFound, address.text() + " is not given away on this node");
  const ipam::Reservation found = TRY(directory.read(address.text()));
  if (const auto* owner = std::get_if<ipam::Owner>(&found)) return judge(view, address, *owner);
  return Holder{Holder::State::kByHand, "", ""};
}

json addressesReport(const AddressView& view) {
  json list = json::array();
  if (view.reservations == nullptr) return list;
  for (const IpAddress& address : view.reservations->all()) {
    const auto holder = holderOf(view, address);
    if (!holder) continue;
    list.push_back({{"address", address.text()},
                    {"container", holder->container},
                    {"interface", holder->interface},
                    {"state", toText(holder->state)}});
  }
  return list;
}

std::vector<Problem> addressProblems(const AddressView& view) {
  std::vector<Problem> problems = view.model.problems();
  addBlockProblems(view, problems);
  addAddressProblems(view, problems);
  return problems;
}

}  // namespace culvert::routing
