#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

void addFlag(std::optional<bool> wanted, std::uint32_t flag, std::uint32_t& flags,
             std::uint32_t& mask) {
  if (!wanted) return;
  mask |= flag;
  if (*wanted) flags |= flag;
}

std::string describe(IfIndex link, const LinkChange& change) {
  std::string text = "change link " + std::to_string(raw(link)) + " (";
  const auto say = [&text](const std::string& what) {
    text += (text.back() == '(' ? "" : ", ") + what;
  };
  if (change.ns != nullptr) say("namespace");
  if (change.mac) say("mac " + change.mac->text());
  if (change.mtuBytes) say("mtu " + std::to_string(*change.mtuBytes));
  if (!change.name.empty()) say("name '" + change.name + "'");
  if (change.alias) say("alias '" + *change.alias + "'");
  if (change.up) say(*change.up ? "up" : "down");
  if (change.promiscuous) say(*change.promiscuous ? "promisc on" : "promisc off");
  if (change.allMulticast) say(*change.allMulticast ? "allmulti on" : "allmulti off");
  if (change.txQueueLength) say("txqueuelen " + std::to_string(*change.txQueueLength));
  if (change.ipv6LinkLocal) say(*change.ipv6LinkLocal ? "addrgenmode eui64" : "addrgenmode none");
  return text + ")";
}

}  // namespace

Result<void> Rtnl::changeLink(IfIndex link, const LinkChange& change) {
  std::uint32_t flags = 0;
  std::uint32_t mask = 0;
  addFlag(change.up, IFF_UP, flags, mask);
  addFlag(change.promiscuous, IFF_PROMISC, flags, mask);
  addFlag(change.allMulticast, IFF_ALLMULTI, flags, mask);
  Work work;
  addLinkChange(work, describe(link, change), link, flags, mask);
  Batch& batch = work.batch;
  if (change.ns != nullptr)
    batch.putU32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(change.ns->fd()));
  if (change.mac) batch.put(IFLA_ADDRESS, change.mac->bytes(), 6);
  if (change.mtuBytes) batch.putU32(IFLA_MTU, *change.mtuBytes);
  if (!change.name.empty()) batch.putString(IFLA_IFNAME, change.name);
  // Without its NUL: an alias of no bytes is none.
  if (change.alias) batch.put(IFLA_IFALIAS, change.alias->data(), change.alias->size());
  if (change.txQueueLength) batch.putU32(IFLA_TXQLEN, *change.txQueueLength);
  if (change.ipv6LinkLocal) putLinkLocal(batch, *change.ipv6LinkLocal);
  return runAll(socket_, work);
}

}  // namespace culvert::netlink
