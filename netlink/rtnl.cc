#include "netlink/rtnl.h"

#include <linux/ip.h>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {

Result<std::vector<Answer>> run(Socket& socket, Work& work) {
  std::vector<Answer> answers = TRY(socket.transact(work.batch));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    Result<void>& status = answers[i].status;
    if (status || (work.mayExist[i] && status.error().code == Errc::kAlreadyExists)) continue;
    return std::move(status).error().wrap(work.doing[i]);
  }
  return answers;
}

Result<void> runAll(Socket& socket, Work& work) {
  TRY(run(socket, work));
  return {};
}

Result<Rtnl> Rtnl::open() {
  Socket socket = TRY(Socket::open(NETLINK_ROUTE));
  return Rtnl(std::move(socket));
}

Result<Rtnl> Rtnl::openIn(const NetNs& ns) {
  Socket socket = TRY(Socket::openIn(ns, NETLINK_ROUTE));
  return Rtnl(std::move(socket));
}

void addAddressRequest(Work& work, std::uint16_t type, std::uint16_t flags, IfIndex link,
                       const InterfaceSetup::NewAddress& address) {
  const IpPrefix& prefix = address.prefix;
  const bool v4 = prefix.family() == Family::kV4;
  ifaddrmsg header{};
  header.ifa_family = static_cast<std::uint8_t>(prefix.family());
  header.ifa_prefixlen = prefix.length();
  header.ifa_index = raw(link);
  work.begin((type == RTM_NEWADDR ? "add address " : "remove address ") + prefix.text(), type,
             flags, header);
  work.batch.putAddress(IFA_LOCAL, prefix.address());
  work.batch.putAddress(IFA_ADDRESS, prefix.address());
  if (type != RTM_NEWADDR) return;
  if (v4 && prefix.length() < 31) work.batch.putAddress(IFA_BROADCAST, prefix.last());
  std::uint32_t addressFlags = address.connectedRoute ? 0 : IFA_F_NOPREFIXROUTE;
  if (!v4 && !address.duplicateDetection) addressFlags |= IFA_F_NODAD;
  work.batch.putU32(IFA_FLAGS, addressFlags);
}

Result<void> Rtnl::configure(const InterfaceSetup& setup) {
  Work work;
  if (setup.arpNotify) {
    ifinfomsg header{};
    header.ifi_index = asInt(setup.link);
    work.begin("set arp_notify", RTM_SETLINK, 0, header);
    const auto spec = work.batch.nest(IFLA_AF_SPEC);
    const auto inet = work.batch.nest(AF_INET);
    const auto conf = work.batch.nest(IFLA_INET_CONF);
    work.batch.putU32(IPV4_DEVCONF_ARP_NOTIFY, 1);
  }
  for (const auto& address : setup.addresses) {
    addAddressRequest(work, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, setup.link, address);
  }
  // Addresses first: the announcement at link-up carries those that are there.
  if (setup.up) addLinkChange(work, "set the link up", setup.link, IFF_UP, IFF_UP);
  for (RouteSpec route : setup.routes) {
    if (route.link == IfIndex::kNone) route.link = setup.link;
    addRouteRequest(work, RTM_NEWROUTE, NLM_F_CREATE, route);
  }
  return runAll(socket_, work);
}

template <class T>
Result<std::vector<T>> Rtnl::list(Batch& batch, std::optional<T> (*parse)(const Reply&)) {
  std::vector<T> items;
  for (const Reply& reply : TRY(socket_.dump(batch))) {
    if (auto item = parse(reply)) items.push_back(std::move(*item));
  }
  return items;
}

Result<std::vector<Address>> Rtnl::listAddresses(IfIndex link) {
  Batch batch;
  ifaddrmsg header{};
  header.ifa_index = raw(link);
  batch.begin(RTM_GETADDR, NLM_F_DUMP, header);
  return list<Address>(batch, parseAddress).context("list addresses");
}

Result<void> Rtnl::addAddress(IfIndex link, const InterfaceSetup::NewAddress& address) {
  Work work;
  addAddressRequest(work, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, link, address);
  return runAll(socket_, work);
}

Result<void> Rtnl::removeAddress(IfIndex link, const IpPrefix& address) {
  Work work;
  addAddressRequest(work, RTM_DELADDR, 0, link, {.prefix = address});
  return runAll(socket_, work);
}

std::optional<Address> parseAddress(const Reply& reply) {
  if (reply.type != RTM_NEWADDR) return std::nullopt;
  const auto header = reply.header<ifaddrmsg>();
  if (header.ifa_family != AF_INET && header.ifa_family != AF_INET6) return std::nullopt;
  const auto family = static_cast<Family>(header.ifa_family);
  const Attributes attributes = reply.attributes(sizeof header);
  auto address = attributes.address(IFA_LOCAL, family);
  if (!address) address = attributes.address(IFA_ADDRESS, family);
  if (!address || header.ifa_prefixlen > addressBits(family)) return std::nullopt;
  return Address{.link = static_cast<IfIndex>(header.ifa_index),
                 .prefix = IpPrefix(*address, header.ifa_prefixlen),
                 .flags = attributes.u32(IFA_FLAGS).value_or(header.ifa_flags),
                 .scope = header.ifa_scope};
}

Result<std::vector<NeighbourSpec>> Rtnl::listNeighbours(Family family, IfIndex link) {
  Batch batch;
  ndmsg header{};
  header.ndm_family = static_cast<std::uint8_t>(family);
  batch.begin(RTM_GETNEIGH, NLM_F_DUMP, header);
  batch.putU32(NDA_IFINDEX, raw(link));
  return list<NeighbourSpec>(batch, parseNeighbour).context("list neighbours");
}

void putNeighbour(Batch& batch, std::uint16_t type, std::uint16_t flags,
                  const NeighbourSpec& neighbour) {
  ndmsg header{};
  header.ndm_family = static_cast<std::uint8_t>(neighbour.address.family());
  header.ndm_ifindex = asInt(neighbour.link);
  header.ndm_state = neighbour.state;
  batch.begin(type, flags, header);
  batch.putAddress(NDA_DST, neighbour.address);
  if (neighbour.mac) batch.put(NDA_LLADDR, neighbour.mac->bytes(), 6);
  if (neighbour.protocol != 0) batch.putU8(NDA_PROTOCOL, neighbour.protocol);
}

namespace {

void addNeighbourRequest(Work& work, std::uint16_t type, std::uint16_t flags,
                         const NeighbourSpec& neighbour) {
  putNeighbour(work.batch, type, flags, neighbour);
  work.doing.push_back((type == RTM_NEWNEIGH ? "set neighbour " : "remove neighbour ") +
                       neighbour.address.text());
  work.mayExist.push_back(false);
}

}  // namespace

Result<void> Rtnl::ensureNeighbour(const NeighbourSpec& neighbour) {
  Work work;
  addNeighbourRequest(work, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour);
  return runAll(socket_, work);
}

Result<void> Rtnl::removeNeighbour(const NeighbourSpec& neighbour) {
  Work work;
  addNeighbourRequest(work, RTM_DELNEIGH, 0, neighbour);
  return runAll(socket_, work);
}

Result<void> Rtnl::askNeighbour(IfIndex link, const IpAddress& address) {
  ndmsg header{};
  header.ndm_family = static_cast<std::uint8_t>(address.family());
  header.ndm_ifindex = asInt(link);
  header.ndm_flags = NTF_USE;
  Work work;
  work.batch.begin(RTM_NEWNEIGH, NLM_F_CREATE, header);
  work.batch.putAddress(NDA_DST, address);
  work.doing.push_back("ask for neighbour " + address.text());
  work.mayExist.push_back(false);
  return runAll(socket_, work);
}

std::optional<NeighbourSpec> parseNeighbour(const Reply& reply) {
  if (reply.type != RTM_NEWNEIGH) return std::nullopt;
  const auto header = reply.header<ndmsg>();
  if (header.ndm_family != AF_INET && header.ndm_family != AF_INET6) return std::nullopt;
  const Attributes attributes = reply.attributes(sizeof header);
  const auto address = attributes.address(NDA_DST, static_cast<Family>(header.ndm_family));
  if (!address) return std::nullopt;
  NeighbourSpec neighbour{.link = static_cast<IfIndex>(header.ndm_ifindex),
                          .address = *address,
                          .mac = {},
                          .state = header.ndm_state,
                          .protocol = attributes.u8(NDA_PROTOCOL).value_or(0)};
  const auto mac = attributes.find(NDA_LLADDR);
  if (mac && mac->size() == 6) neighbour.mac = MacAddress::fromBytes(mac->data());
  return neighbour;
}

}  // namespace culvert::netlink
