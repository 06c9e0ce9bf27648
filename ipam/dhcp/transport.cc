#include "ipam/dhcp/transport.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <type_traits>

#include "ipam/dhcp/message4.h"
#include "ipam/dhcp/message6.h"
#include "netlink/rtnl.h"

namespace culvert::ipam::dhcp {
namespace {

using netlink::Rtnl;

constexpr std::size_t kMaxDatagram = 65536;
constexpr int kMaxSkipped = 64;  // datagrams in a row that are none of ours

/// What `body` returns, from a thread of its own, which is inside `ns` and never comes back.
constexpr int kReceiveBytes = 1 << 20;

template <class Body>
auto inside(const NetNs& ns, Body body) -> std::invoke_result_t<Body> {
  std::optional<std::invoke_result_t<Body>> outcome;
  std::thread helper([&] { outcome.emplace(ns.run(body)); });
  helper.join();
  return std::move(*outcome);
}

Result<UniqueFd> openSocket(int family, int type, const char* what) {
  UniqueFd fd(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fromErrno(errno, what);
  // Noise must not crowd out an answer. As far as it is allowed.
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof kReceiveBytes);
  return fd;
}

template <class Value>
Result<void> setOption(const UniqueFd& fd, int level, int name, const Value& value,
                       const char* what) {
  if (::setsockopt(fd.get(), level, name, &value, sizeof value) == 0) return {};
  return fromErrno(errno, what);
}

Result<void> bindTo(const UniqueFd& fd, const void* address, std::size_t bytes, const char* what) {
  if (::bind(fd.get(), static_cast<const sockaddr*>(address), static_cast<socklen_t>(bytes)) == 0)
    return {};
  return fromErrno(errno, what);
}

Result<void> bindToLink(const UniqueFd& fd, const std::string& name) {
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, name.c_str(),
                   static_cast<socklen_t>(name.size())) == 0)
    return {};
  return fromErrno(errno, "bind a socket to '" + name + "'");
}

/// tcpdump: ip proto 17 and not fragmented and udp dst port 68
Result<void> attachFilter(const UniqueFd& fd) {
  std::array<sock_filter, 8> program{{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 5),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x3fff, 3, 0),
      BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kClientPort4, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
  }};
  std::array<sock_filter, 9> whole{};
  std::copy(program.begin(), program.end(), whole.begin());
  whole.back() = BPF_STMT(BPF_RET | BPF_K, kMaxDatagram);
  const sock_fprog filter{.len = whole.size(), .filter = whole.data()};
  return setOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter, "filter packets");
}

Result<void> sendAll(int fd, std::string_view data, const void* to, std::size_t bytes,
                     const char* what) {
  const ssize_t sent = ::sendto(fd, data.data(), data.size(), MSG_NOSIGNAL,
                                static_cast<const sockaddr*>(to), static_cast<socklen_t>(bytes));
  if (sent < 0) return fromErrno(errno, what);
  return {};
}

sockaddr_ll linkAddress(netlink::IfIndex link) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_IP);
  address.sll_ifindex = static_cast<int>(link);
  return address;
}

Result<Place> placeOf(const NetNs& ns, const netlink::Link& link) {
  struct stat info {};
  if (::fstat(ns.fd(), &info) != 0) return fromErrno(errno, "stat a network namespace");
  return Place{.device = info.st_dev, .inode = info.st_ino, .mac = *link.mac};
}

bool checksumDone(msghdr& header) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA) continue;
    tpacket_auxdata data{};
    std::memcpy(&data, CMSG_DATA(part), sizeof data);
    return (data.tp_status & TP_STATUS_CSUMNOTREADY) == 0;
  }
  return true;
}

}  // namespace

bool Interface::has(const IpPrefix& address) const {
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const IpPrefix& each) { return each.address() == address.address(); });
}

Result<Interface> findInterface(const std::string& netnsPath, const std::string& ifName) {
  NetNs ns = TRY(NetNs::open(netnsPath));
  Rtnl rtnl = TRY(inside(ns, [] { return Rtnl::open(); }));
  netlink::Link link = TRY(rtnl.findLink(ifName));
  if (!link.mac) return makeError(Errc::kInvalidConfig, "'" + ifName + "' is no Ethernet: no DHCP");
  const Place place = TRY(placeOf(ns, link));
  std::vector<IpPrefix> addresses;
  for (const netlink::Address& each : TRY(rtnl.listAddresses(link.index)))
    addresses.push_back(each.prefix);
  return Interface{std::move(ns), place, std::move(link), std::move(addresses)};
}

bool isSame(const Interface& found, const Record& record) {
  if (found.place.device != record.place.device || found.place.inode != record.place.inode)
    return false;
  const auto& [v4, v6] = record.leases;
  return found.place.mac == record.place.mac || (v4 && found.has(v4->address)) ||
         (v6 && found.has(v6->address));
}

Result<UniqueFd> openFrames4(const Interface& interface) {
  // Protocol 0 hears nothing until it is bound, so that nothing comes in before the filter.
  UniqueFd fd = TRY(inside(
      interface.ns, [] { return openSocket(AF_PACKET, SOCK_DGRAM, "open a packet socket"); }));
  TRY(attachFilter(fd));
  TRY(setOption(fd, SOL_PACKET, PACKET_AUXDATA, 1, "ask for packets' checksum state"));
  const sockaddr_ll address = linkAddress(interface.link.index);
  TRY(bindTo(fd, &address, sizeof address, "bind a packet socket"));
  return fd;
}

Result<UniqueFd> openUdp4(const Interface& interface) {
  UniqueFd fd = TRY(
      inside(interface.ns, [] { return openSocket(AF_INET, SOCK_DGRAM, "open a UDP socket"); }));
  TRY(setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, "share the client's port"));
  TRY(setOption(fd, SOL_SOCKET, SO_BROADCAST, 1, "allow broadcasts"));
  TRY(bindToLink(fd, interface.link.name));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kClientPort4);
  TRY(bindTo(fd, &address, sizeof address, "bind UDP port 68"));
  return fd;
}

Result<UniqueFd> openUdp6(const Interface& interface) {
  UniqueFd fd = TRY(
      inside(interface.ns, [] { return openSocket(AF_INET6, SOCK_DGRAM, "open a UDP socket"); }));
  TRY(setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, "keep to IPv6"));
  TRY(setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, "share the client's port"));
  TRY(bindToLink(fd, interface.link.name));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kClientPort6);
  // Servers answer the address that asks, and that is to be the link-local one (RFC 8415
  // section 13.1).
  for (const IpPrefix& each : interface.addresses) {
    if (each.family() != Family::kV6 || each.address().bytes()[0] != 0xfe) continue;
    std::memcpy(&address.sin6_addr, each.address().bytes(), 16);
    address.sin6_scope_id = static_cast<std::uint32_t>(interface.link.index);
  }
  TRY(bindTo(fd, &address, sizeof address, "bind UDP port 546"));
  return fd;
}

Result<void> sendFrame4(int fd, netlink::IfIndex link, const std::optional<MacAddress>& to,
                        std::string_view packet) {
  sockaddr_ll address = linkAddress(link);
  address.sll_halen = ETH_ALEN;
  std::memset(address.sll_addr, 0xff, ETH_ALEN);
  if (to) std::memcpy(address.sll_addr, to->bytes(), ETH_ALEN);
  return sendAll(fd, packet, &address, sizeof address, "send a DHCP frame");
}

Result<void> sendUdp4(int fd, const IpAddress& to, std::string_view message) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kServerPort4);
  std::memcpy(&address.sin_addr, to.bytes(), 4);
  return sendAll(fd, message, &address, sizeof address, "send a DHCP message");
}

Result<void> sendUdp6(int fd, netlink::IfIndex link, std::string_view message) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kServerPort6);
  address.sin6_scope_id = static_cast<std::uint32_t>(link);
  ::inet_pton(AF_INET6, "ff02::1:2", &address.sin6_addr);
  return sendAll(fd, message, &address, sizeof address, "send a DHCPv6 message");
}

std::optional<Received> receiveFrame4(int fd) {
  std::string buffer(kMaxDatagram, '\0');
  for (int i = 0; i < kMaxSkipped; ++i) {
    sockaddr_ll from{};
    iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
    alignas(cmsghdr) std::array<char, 256> control{};
    msghdr header{};
    header.msg_name = &from;
    header.msg_namelen = sizeof from;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(fd, &header, 0);
    if (got < 0) return std::nullopt;
    const auto payload =
        payload4({buffer.data(), static_cast<std::size_t>(got)}, checksumDone(header));
    if (!payload) continue;
    Received received{.data = std::string(*payload), .from = {}};
    if (from.sll_halen == ETH_ALEN) received.from = MacAddress::fromBytes(from.sll_addr);
    return received;
  }
  return std::nullopt;
}

std::optional<Received> receiveUdp(int fd) {
  std::string buffer(kMaxDatagram, '\0');
  const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (got < 0) return std::nullopt;
  buffer.resize(static_cast<std::size_t>(got));
  return Received{.data = std::move(buffer), .from = {}};
}

Result<void> sendRelease4(const Interface& interface, const Lease4& lease,
                          std::string_view message) {
  if (lease.serverMac) {
    const UniqueFd fd = TRY(openFrames4(interface));
    return sendFrame4(fd.get(), interface.link.index, lease.serverMac,
                      packet4(lease.address.address(), lease.server, message));
  }
  const UniqueFd fd = TRY(openUdp4(interface));
  return sendUdp4(fd.get(), lease.server, message);
}

Result<void> withdraw(const Interface& interface, const IpPrefix& address, bool setDown) {
  Rtnl rtnl = TRY(inside(interface.ns, [] { return Rtnl::open(); }));
  FirstError outcome;
  outcome.note(ignoreNotFound(rtnl.removeAddress(interface.link.index, address)));
  if (setDown) outcome.note(rtnl.setDown(interface.link.index));
  return std::move(outcome).take();
}

Instant now() {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return std::chrono::seconds(time.tv_sec) + Instant(time.tv_nsec / 1'000'000);
}

std::uint32_t randomBits() {
  std::uint32_t bits = 0;
  if (::getrandom(&bits, sizeof bits, 0) != sizeof bits) std::abort();
  return bits;
}

}  // namespace culvert::ipam::dhcp
