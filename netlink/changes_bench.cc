// How long the kernel's tables of N peers take: as root, `unshare -n changes_bench [N]`.

#include <linux/rtnetlink.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "netlink/changes.h"

using namespace culvert;
using namespace culvert::netlink;

namespace {

constexpr std::uint8_t kOurs = 0xC5;

template <class Work>
void measure(const char* what, std::size_t count, Work work) {
  const auto start = std::chrono::steady_clock::now();
  const auto outcome = work();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  std::printf("%-34s %7.1f ms %6.1f us each%s\n", what, took.count(),
              took.count() * 1000 / static_cast<double>(count), outcome ? "" : "  FAILED");
}

IpAddress address(unsigned first, std::uint32_t i) {
  const std::array<std::uint8_t, 4> bytes{
      static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(i >> 16),
      static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
  return IpAddress::fromBytes(Family::kV4, bytes.data());
}

struct Peers {
  std::vector<Change> nexthops, routes, neighbours, fdb;
};

/// Peer i: its block 10.x.y.0/24 by nexthop i, with the tunnel in it; and the classic objects.
Peers peersOn(IfIndex layer3, IfIndex classic, std::uint32_t count) {
  Peers peers;
  for (std::uint32_t i = 1; i <= count; ++i) {
    peers.nexthops.push_back(
        {.object = NexthopSpec{.id = i,
                               .link = layer3,
                               .encap = TunnelEncap{.id = 1, .destination = address(198, i)},
                               .protocol = kOurs}});
    RouteSpec route{.dst = IpPrefix(address(10, i << 8), 24), .protocol = kOurs};
    route.nexthopId = i;
    peers.routes.push_back({.object = route});
    const IpAddress gateway = address(10, i << 8);
    std::array<std::uint8_t, 6> mac6{2};
    std::memcpy(mac6.data() + 2, address(0, i).bytes(), 4);
    const MacAddress mac = MacAddress::fromBytes(mac6.data());
    peers.neighbours.push_back(
        {.object = NeighbourSpec{.link = classic, .address = gateway, .mac = mac}});
    peers.fdb.push_back(
        {.object = FdbEntry{.link = classic, .mac = mac, .remote = address(198, i)}});
  }
  return peers;
}

IfIndex make(Rtnl& rtnl, const std::string& name, const Vxlan& kind) {
  const auto made =
      rtnl.createLink({.name = name, .kind = kind, .ipv6LinkLocal = false, .up = true});
  const auto link = rtnl.findLink(name);
  if (!made || !link) std::exit(1);
  return link->index;
}

bool applied(Rtnl& rtnl, const std::vector<Change>& changes) {
  const auto failures = applyChanges(rtnl, changes);
  return failures && failures->empty();
}

}  // namespace

int main(int argc, char** argv) {
  const auto count = static_cast<std::uint32_t>(argc > 1 ? std::atoi(argv[1]) : 10000);
  Rtnl rtnl = *Rtnl::open();
  const IfIndex layer3 = make(rtnl, "vxl3", {.port = 4790, .external = true, .gpe = true});
  const IfIndex classic = make(rtnl, "vx", {.vni = 1, .port = 8472});
  Peers peers = peersOn(layer3, classic, count);
  measure("nexthops", count, [&] { return applied(rtnl, peers.nexthops); });
  measure("routes by nexthop", count, [&] { return applied(rtnl, peers.routes); });
  measure("neighbours", count, [&] { return applied(rtnl, peers.neighbours); });
  measure("forwarding entries", count, [&] { return applied(rtnl, peers.fdb); });
  measure("list nexthops", count, [&] { return Nexthops(rtnl).list(kOurs)->size() == count; });
  measure("list routes", count,
          [&] { return rtnl.listRoutes({.protocol = kOurs})->size() == count; });
  measure("list forwarding entries", count,
          [&] { return ForwardingDatabase(rtnl).list(classic)->size() == count; });
  measure("replace the nexthops once more", count, [&] { return applied(rtnl, peers.nexthops); });
  measure("replace one nexthop", 1, [&] { return applied(rtnl, {peers.nexthops[count / 2]}); });
  std::vector<Change> removals = peers.routes;
  removals.insert(removals.end(), peers.nexthops.begin(), peers.nexthops.end());
  for (Change& change : removals)
    change.how = Change::How::kRemove;
  sortForApplying(removals);
  measure("remove routes and nexthops", count, [&] { return applied(rtnl, removals); });
}
