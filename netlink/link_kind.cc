#include <arpa/inet.h>
#include <net/if.h>  // before those of the kernel, which then leave out what is in it

#include <linux/if_tunnel.h>
#include <linux/ip6_tunnel.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "netlink/rtnl_internal.h"

// Kinds of links with attributes of their own (IFLA_LINKINFO).
namespace culvert::netlink {
namespace {

void putData(Batch&, const std::monostate&) {}
void putData(Batch&, const Dummy&) {}
void putData(Batch& batch, const Macvlan& macvlan) {
  batch.putU32(IFLA_MACVLAN_MODE, static_cast<std::uint32_t>(macvlan.mode));
  if (macvlan.broadcastQueue != 0) batch.putU32(IFLA_MACVLAN_BC_QUEUE_LEN, macvlan.broadcastQueue);
}
void putData(Batch& batch, const Ipvlan& ipvlan) {
  batch.putU16(IFLA_IPVLAN_MODE, static_cast<std::uint16_t>(ipvlan.mode));
}
void putData(Batch& batch, const Vlan& vlan) {
  batch.putU16(IFLA_VLAN_ID, vlan.id);
}
void putData(Batch& batch, const Vrf& vrf) {
  batch.putU32(IFLA_VRF_TABLE, vrf.table);
}

void putAddressOf(Batch& batch, std::uint16_t type, const std::optional<IpAddress>& address) {
  if (address) batch.putAddress(type, *address);
}
void putFlag(Batch& batch, std::uint16_t type, bool on) {
  if (on) batch.put(type, nullptr, 0);
}

void putData(Batch& batch, const Vxlan& vxlan) {
  if (!vxlan.external) batch.putU32(IFLA_VXLAN_ID, vxlan.vni);
  batch.putU16(IFLA_VXLAN_PORT, htons(vxlan.port));
  const bool v6 = vxlan.local && vxlan.local->family() == Family::kV6;
  putAddressOf(batch, v6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, vxlan.local);
  if (vxlan.underlay != IfIndex::kNone) batch.putU32(IFLA_VXLAN_LINK, raw(vxlan.underlay));
  batch.putU8(IFLA_VXLAN_LEARNING, vxlan.learning ? 1 : 0);
  if (vxlan.external) batch.putU8(IFLA_VXLAN_COLLECT_METADATA, 1);
  putFlag(batch, IFLA_VXLAN_GPE, vxlan.gpe);
  putFlag(batch, IFLA_VXLAN_GBP, vxlan.gbp);
  if (vxlan.ttl != 0) batch.putU8(IFLA_VXLAN_TTL, vxlan.ttl);
  batch.putU8(IFLA_VXLAN_UDP_CSUM, vxlan.udpChecksum ? 1 : 0);
  batch.putU8(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, vxlan.zeroChecksum6Tx ? 1 : 0);
  batch.putU8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, vxlan.zeroChecksum6Rx ? 1 : 0);
  if (vxlan.df != Vxlan::DontFragment::kUnset)
    batch.putU8(IFLA_VXLAN_DF, static_cast<std::uint8_t>(vxlan.df));
}

/// What Ipip and Ip6tnl have in common.
template <class Tunnel>
void putTunnel(Batch& batch, const Tunnel& tunnel) {
  putAddressOf(batch, IFLA_IPTUN_LOCAL, tunnel.local);
  putAddressOf(batch, IFLA_IPTUN_REMOTE, tunnel.remote);
  if (tunnel.underlay != IfIndex::kNone) batch.putU32(IFLA_IPTUN_LINK, raw(tunnel.underlay));
  batch.putU8(IFLA_IPTUN_TTL, tunnel.ttl);
  putFlag(batch, IFLA_IPTUN_COLLECT_METADATA, tunnel.external);
}
void putData(Batch& batch, const Ipip& ipip) {
  putTunnel(batch, ipip);
  batch.putU8(IFLA_IPTUN_PROTO, IPPROTO_IPIP);
  batch.putU8(IFLA_IPTUN_PMTUDISC, ipip.pathMtuDiscovery ? 1 : 0);
}
void putData(Batch& batch, const Ip6tnl& tunnel) {
  putTunnel(batch, tunnel);
  batch.putU8(IFLA_IPTUN_PROTO, 0);  // IPv4 and IPv6 inside
  batch.putU32(IFLA_IPTUN_FLAGS, IP6_TNL_F_IGN_ENCAP_LIMIT);
}
void putData(Batch&, const Wireguard&) {}

std::optional<IpAddress> addressIn(const Attributes& data, std::uint16_t type, Family family) {
  const auto address = data.address(type, family);
  return address && !address->isUnspecified() ? address : std::nullopt;
}
IfIndex linkIn(const Attributes& data, std::uint16_t type) {
  return static_cast<IfIndex>(data.u32(type).value_or(0));
}
bool flagIn(const Attributes& data, std::uint16_t type) {
  return data.u8(type).value_or(0) != 0;
}

Vxlan parseVxlan(const Attributes& data) {
  Vxlan vxlan{.vni = data.u32(IFLA_VXLAN_ID).value_or(0),
              .port = ntohs(data.u16(IFLA_VXLAN_PORT).value_or(0)),
              .local = addressIn(data, IFLA_VXLAN_LOCAL, Family::kV4),
              .underlay = linkIn(data, IFLA_VXLAN_LINK),
              .learning = flagIn(data, IFLA_VXLAN_LEARNING),
              .external = flagIn(data, IFLA_VXLAN_COLLECT_METADATA),
              .gpe = data.has(IFLA_VXLAN_GPE),
              .gbp = data.has(IFLA_VXLAN_GBP),
              .ttl = data.u8(IFLA_VXLAN_TTL).value_or(0),
              .udpChecksum = flagIn(data, IFLA_VXLAN_UDP_CSUM),
              .zeroChecksum6Tx = flagIn(data, IFLA_VXLAN_UDP_ZERO_CSUM6_TX),
              .zeroChecksum6Rx = flagIn(data, IFLA_VXLAN_UDP_ZERO_CSUM6_RX),
              .df = static_cast<Vxlan::DontFragment>(data.u8(IFLA_VXLAN_DF).value_or(0))};
  if (!vxlan.local) vxlan.local = addressIn(data, IFLA_VXLAN_LOCAL6, Family::kV6);
  return vxlan;
}

template <class Tunnel>
Tunnel parseTunnel(const Attributes& data, Family family) {
  Tunnel tunnel;
  tunnel.local = addressIn(data, IFLA_IPTUN_LOCAL, family);
  tunnel.remote = addressIn(data, IFLA_IPTUN_REMOTE, family);
  tunnel.underlay = linkIn(data, IFLA_IPTUN_LINK);
  tunnel.external = data.has(IFLA_IPTUN_COLLECT_METADATA);
  tunnel.ttl = data.u8(IFLA_IPTUN_TTL).value_or(0);
  return tunnel;
}
Ipip parseIpip(const Attributes& data) {
  Ipip ipip = parseTunnel<Ipip>(data, Family::kV4);
  ipip.pathMtuDiscovery = flagIn(data, IFLA_IPTUN_PMTUDISC);
  return ipip;
}

void putKind(Batch& batch, const LinkKind& kind) {
  const auto info = batch.nest(IFLA_LINKINFO);
  batch.putString(IFLA_INFO_KIND, kindName(kind));
  const auto data = batch.nest(IFLA_INFO_DATA);
  std::visit([&](const auto& own) { putData(batch, own); }, kind);
}

}  // namespace

const char* kindName(const LinkKind& kind) {
  constexpr std::array<const char*, std::variant_size_v<LinkKind>> kNames{
      "", "macvlan", "ipvlan", "vlan", "dummy", "vrf", "vxlan", "ipip", "ip6tnl", "wireguard"};
  return kNames.at(kind.index());
}

LinkKind parseLinkKind(const std::string& name, const Attributes& data) {
  if (name == "macvlan") {
    return Macvlan{.mode = static_cast<Macvlan::Mode>(data.u32(IFLA_MACVLAN_MODE).value_or(0)),
                   .broadcastQueue = data.u32(IFLA_MACVLAN_BC_QUEUE_LEN).value_or(0)};
  }
  if (name == "ipvlan")
    return Ipvlan{static_cast<Ipvlan::Mode>(data.u16(IFLA_IPVLAN_MODE).value_or(0))};
  if (name == "vlan") return Vlan{data.u16(IFLA_VLAN_ID).value_or(0)};
  if (name == "dummy") return Dummy{};
  if (name == "vrf") return Vrf{data.u32(IFLA_VRF_TABLE).value_or(0)};
  if (name == "vxlan") return parseVxlan(data);
  if (name == "ipip") return parseIpip(data);
  if (name == "ip6tnl") return parseTunnel<Ip6tnl>(data, Family::kV6);
  if (name == "wireguard") return Wireguard{};
  return std::monostate();
}

void putLinkLocal(Batch& batch, bool on) {
  const auto spec = batch.nest(IFLA_AF_SPEC);
  const auto inet6 = batch.nest(AF_INET6);
  batch.putU8(IFLA_INET6_ADDR_GEN_MODE, on ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE);
}

namespace {

void addCreation(Work& work, const LinkSpec& spec) {
  work.begin(std::string("create ") + kindName(spec.kind) + " '" + spec.name + "'", RTM_NEWLINK,
             NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  Batch& batch = work.batch;
  batch.putString(IFLA_IFNAME, spec.name);
  if (spec.mac) batch.put(IFLA_ADDRESS, spec.mac->bytes(), 6);
  if (spec.mtuBytes != 0) batch.putU32(IFLA_MTU, spec.mtuBytes);
  if (spec.lower != IfIndex::kNone) batch.putU32(IFLA_LINK, raw(spec.lower));
  if (spec.ns != nullptr) batch.putU32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.ns->fd()));
  putKind(batch, spec.kind);
}

/// What creation does not take; up last, when it has its name and knows about link-local addresses.
void addDetails(Work& work, const LinkSpec& spec) {
  const auto begin = [&](const char* what, std::uint32_t flags) {
    ifinfomsg header{};
    header.ifi_flags = header.ifi_change = flags;
    work.begin(what + (" '" + spec.name + "'"), RTM_NEWLINK, 0, header);
    work.batch.putString(IFLA_IFNAME, spec.name);
  };
  if (!spec.alias.empty()) {
    begin("name the owner of", 0);
    work.batch.putString(IFLA_IFALIAS, spec.alias);
  }
  if (!spec.ipv6LinkLocal) {
    begin("set addr_gen_mode of", 0);
    putLinkLocal(work.batch, false);
  }
  if (spec.up) begin("set up", IFF_UP);
}

}  // namespace

Result<void> Rtnl::createLink(const LinkSpec& spec) {
  Work work;
  addCreation(work, spec);
  addDetails(work, spec);
  if (spec.ns != nullptr && work.batch.count() > 1)
    return makeError(Errc::kUnsupportedField, work.doing[0] + ": alias, up in another namespace");
  std::vector<Answer> answers = TRY(socket_.transact(work.batch));
  if (!answers[0].status) return std::move(answers[0].status).error().wrap(work.doing[0]);
  for (std::size_t i = 1; i < answers.size(); ++i) {
    // Without IPv6 there are no link-local addresses to do without.
    if (answers[i].status || answers[i].status.error().sysErrno == EAFNOSUPPORT) continue;
    const auto made = findLink(spec.name);  // half a link is none
    if (made) static_cast<void>(removeLink(made->index));
    return std::move(answers[i].status).error().wrap(work.doing[i]);
  }
  return {};
}

Result<bool> Rtnl::knowsLinkKind(const LinkKind& kind) {
  Work work;
  work.begin(std::string("look for ") + kindName(kind) + " in the kernel", RTM_NEWLINK,
             NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  // No link has a group address or a negative MTU, or lies on nothing: a known kind refuses that,
  // and those without MAC addresses the MTU.
  constexpr std::uint32_t kNegative = 0x80000000;
  work.batch.putU32(IFLA_MTU, kNegative);
  constexpr std::array<unsigned char, 6> kGroupAddress{1, 0, 0, 0, 0, 0};
  work.batch.put(IFLA_ADDRESS, kGroupAddress.data(), kGroupAddress.size());
  putKind(work.batch, kind);
  const auto outcome = runAll(socket_, work);
  return outcome || outcome.error().sysErrno != EOPNOTSUPP;
}

}  // namespace culvert::netlink
