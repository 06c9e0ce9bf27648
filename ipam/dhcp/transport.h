#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/netns.h"
#include "ipam/dhcp/record.h"
#include "netlink/link.h"

// Sockets inside containers' network namespaces. A socket belongs to the namespace that the thread
// was in when it was made, so a helper thread goes there and ends; the caller's thread never
// leaves home. A socket also keeps its namespace alive: none is held longer than an exchange takes.
namespace culvert::ipam::dhcp {

/// An interface as it is now.
struct Interface {
  NetNs ns;
  Place place;
  netlink::Link link;
  std::vector<IpPrefix> addresses;

  bool has(const IpPrefix& address) const;
};

/// kNotFound if namespace or interface are not there; kInvalidConfig if it is no Ethernet.
Result<Interface> findInterface(const std::string& netnsPath, const std::string& ifName);

/// Whether `found` is still the interface of `record`: the same namespace, and the same MAC or one
/// of the leased addresses (a chained plugin may have changed either, not both).
bool isSame(const Interface& found, const Record& record);

/// DHCPv4 before there is an address: a packet socket that hears UDP datagrams to port 68 only.
Result<UniqueFd> openFrames4(const Interface& interface);
/// DHCPv4 with an address, and DHCPv6: UDP sockets bound to the client's port and the interface.
Result<UniqueFd> openUdp4(const Interface& interface);
Result<UniqueFd> openUdp6(const Interface& interface);

/// Sends a frame with an IPv4 packet, to everybody if `to` is absent.
Result<void> sendFrame4(int fd, netlink::IfIndex link, const std::optional<MacAddress>& to,
                        std::string_view packet);
/// To the server's port of an IPv4 address; 255.255.255.255 is everybody on the link.
Result<void> sendUdp4(int fd, const IpAddress& to, std::string_view message);
/// To all DHCPv6 servers and relays of the link (ff02::1:2).
Result<void> sendUdp6(int fd, netlink::IfIndex link, std::string_view message);

struct Received {
  std::string data;  // the DHCP message
  std::optional<MacAddress> from;
};
/// The next message, or nothing if none is there. What is no message for us is skipped.
std::optional<Received> receiveFrame4(int fd);
std::optional<Received> receiveUdp(int fd);

/// The RELEASE of a DHCPv4 lease, to the server that granted it, as a frame: it is on its way when
/// this returns, and needs no neighbour to be looked up while the interface is taken away.
Result<void> sendRelease4(const Interface& interface, const Lease4& lease,
                          std::string_view message);

/// Takes an address whose lease is over from the interface; `setDown`: it was the last one.
Result<void> withdraw(const Interface& interface, const IpPrefix& address, bool setDown);

/// The time that leases count in.
Instant now();

/// A Random that the kernel feeds.
std::uint32_t randomBits();

}  // namespace culvert::ipam::dhcp
