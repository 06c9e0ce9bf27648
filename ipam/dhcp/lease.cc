#include "ipam/dhcp/lease.h"

#include <algorithm>

#include "ipam/dhcp/bytes.h"
#include "ipam/dhcp/domain_names.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr std::uint32_t kForever = 0xffffffff;
constexpr std::uint32_t kMinMtu = 68, kMaxMtu = 65535;  // RFC 791
constexpr std::uint32_t kScopeLink = 253;               // RT_SCOPE_LINK
constexpr std::size_t kMaxServers = 16;

Error unusable(const std::string& what) {
  return makeError(Errc::kDecode, what);
}

Instant after(Instant from, std::uint32_t seconds) {
  return seconds == kForever ? kNever : from + std::chrono::seconds(seconds);
}

std::string_view option(const Message4& message, std::uint8_t code) {
  const auto found = message.options.find(code);
  return found == message.options.end() ? std::string_view() : std::string_view(found->second);
}

std::optional<std::uint8_t> prefixLength(std::string_view mask) {
  const auto bits = wholeInteger(mask, 4);
  if (!bits) return std::nullopt;
  const std::uint32_t host = ~*bits;
  if ((host & (host + 1)) != 0) return std::nullopt;  // holes
  return static_cast<std::uint8_t>(32 - __builtin_popcount(host));
}

/// An address that an interface can have.
bool isUsable(const IpAddress& address) {
  if (address.isUnspecified()) return false;
  const std::uint8_t* bytes = address.bytes();
  if (address.family() == Family::kV4) return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224;
  const bool loopback = address == *IpAddress::parse("::1");
  const bool linkLocal = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  return !loopback && !linkLocal && bytes[0] != 0xff;
}

/// As many addresses as there are, without 0.0.0.0 and the like.
std::vector<IpAddress> addresses(std::string_view data) {
  std::vector<IpAddress> list;
  for (ByteReader reader(data); const auto field = reader.take(4);) {
    const IpAddress address = IpAddress::fromBytes(Family::kV4, field->data());
    if (isUsable(address)) list.push_back(address);
  }
  return list;
}

/// Option 121 (RFC 3442). A router of 0.0.0.0 means that the destination is on the link.
std::optional<std::vector<cni::Route>> classlessRoutes(std::string_view data) {
  std::vector<cni::Route> routes;
  ByteReader reader(data);
  while (!reader.empty()) {
    const auto length = reader.integer(1);
    if (*length > 32) return std::nullopt;
    const auto significant = reader.take((*length + 7) / 8);
    const auto router = reader.take(4);
    if (!significant || !router) return std::nullopt;
    std::string padded(*significant);
    padded.resize(4, '\0');
    cni::Route route;
    route.dst = IpPrefix(IpAddress::fromBytes(Family::kV4, padded.data()),
                         static_cast<std::uint8_t>(*length))
                    .network();
    const IpAddress gateway = IpAddress::fromBytes(Family::kV4, router->data());
    if (gateway.isUnspecified()) {
      route.scope = kScopeLink;
    } else {
      route.gw = gateway;
    }
    routes.push_back(route);
  }
  return routes;
}

std::uint8_t classfulLength(const IpAddress& address) {
  const std::uint8_t first = address.bytes()[0];
  if (first < 128) return 8;
  return first < 192 ? 16 : 24;
}

/// Option 33 (RFC 2132 section 5.8): destinations of the old address classes.
std::vector<cni::Route> classfulRoutes(std::string_view data) {
  std::vector<cni::Route> routes;
  for (ByteReader reader(data); const auto pair = reader.take(8);) {
    const IpAddress destination = IpAddress::fromBytes(Family::kV4, pair->data());
    const IpAddress router = IpAddress::fromBytes(Family::kV4, pair->data() + 4);
    if (!isUsable(destination) || !isUsable(router)) continue;
    cni::Route route;
    route.dst = IpPrefix(destination, classfulLength(destination)).network();
    route.gw = router;
    routes.push_back(route);
  }
  return routes;
}

/// RFC 3442: who sends option 121 means it instead of options 3 and 33.
void readRoutes(const Message4& message, Lease4& lease) {
  const std::vector<IpAddress> routers = addresses(option(message, kRouter));
  const auto classless = classlessRoutes(option(message, kClasslessRoute));
  if (classless && !classless->empty()) {
    lease.routes = *classless;
    for (const cni::Route& route : lease.routes) {
      if (route.dst.isDefault() && route.gw && !lease.gateway) lease.gateway = route.gw;
    }
    return;
  }
  lease.routes = classfulRoutes(option(message, kStaticRoute));
  if (routers.empty()) return;
  lease.gateway = routers.front();
  cni::Route everything;
  everything.dst = IpPrefix::any(Family::kV4);
  everything.gw = lease.gateway;
  lease.routes.push_back(everything);
}

cni::Dns readDns(const Message4& message) {
  cni::Dns dns;
  for (const IpAddress& server : addresses(option(message, kDnsServer))) {
    if (dns.nameservers.size() < kMaxServers) dns.nameservers.push_back(server.text());
  }
  std::string_view domain = option(message, kDomainName);
  while (!domain.empty() && (domain.back() == '\0' || domain.back() == '.'))
    domain.remove_suffix(1);
  if (isDomainName(domain)) dns.domain = domain;
  if (auto search = parseDomainNames(option(message, kDomainSearch))) dns.search = *search;
  return dns;
}

void append(std::vector<std::string>& list, const std::vector<std::string>& more) {
  for (const std::string& each : more) {
    if (std::find(list.begin(), list.end(), each) == list.end()) list.push_back(each);
  }
}

}  // namespace

Schedule scheduleOf(std::uint32_t renewSeconds, std::uint32_t rebindSeconds,
                    std::uint32_t leaseSeconds, Instant from) {
  if (leaseSeconds == kForever) return {};
  const bool ordered =
      0 < renewSeconds && renewSeconds < rebindSeconds && rebindSeconds < leaseSeconds;
  const Instant expires = after(from, leaseSeconds);
  if (ordered) return {after(from, renewSeconds), after(from, rebindSeconds), expires};
  const Duration lease = expires - from;
  return {from + lease / 2, from + lease * 7 / 8, expires};
}

Result<Lease4> readLease4(const Message4& message, Instant now) {
  const auto length = prefixLength(option(message, kSubnetMask));
  const auto server = message.addressOption(kServerIdentifier);
  const auto seconds = wholeInteger(option(message, kLeaseTime), 4);
  if (!isUsable(message.yourAddress))
    return unusable("no host can have " + message.yourAddress.text());
  if (!length) return unusable("no valid subnet mask");
  if (!server || server->isUnspecified()) return unusable("no server identifier");
  if (!seconds) return unusable("no lease time");
  if (*seconds < kMinLeaseSeconds) return unusable("a lease of " + std::to_string(*seconds) + " s");
  Lease4 lease{.address = IpPrefix(message.yourAddress, *length),
               .gateway = {},
               .routes = {},
               .dns = readDns(message),
               .mtuBytes = wholeInteger(option(message, kInterfaceMtu), 2),
               .server = *server,
               .serverMac = {},
               .schedule = scheduleOf(wholeInteger(option(message, kRenewalTime), 4).value_or(0),
                                      wholeInteger(option(message, kRebindingTime), 4).value_or(0),
                                      *seconds, now)};
  if (lease.mtuBytes && (*lease.mtuBytes < kMinMtu || *lease.mtuBytes > kMaxMtu))
    lease.mtuBytes.reset();
  readRoutes(message, lease);
  return lease;
}

Result<Lease6> readLease6(const Message6& message, std::uint32_t iaid, Instant now) {
  if (message.serverId.empty()) return unusable("no server identifier");
  if (message.status != 0) return unusable("status " + std::to_string(message.status));
  const auto ia = std::find_if(message.associations.begin(), message.associations.end(),
                               [&](const Association& each) { return each.iaid == iaid; });
  if (ia == message.associations.end()) return unusable("no address association of ours");
  if (ia->status != 0) return unusable("status " + std::to_string(ia->status) + " of the address");
  const auto good = [](const Association::Entry& entry) {
    return entry.status == 0 && isUsable(entry.address) && entry.validSeconds >= kMinLeaseSeconds &&
           entry.preferredSeconds <= entry.validSeconds;
  };
  const auto entry = std::find_if(ia->entries.begin(), ia->entries.end(), good);
  if (entry == ia->entries.end()) return unusable("no usable address");
  Lease6 lease{
      .address = IpPrefix::host(entry->address),
      .dns = {},
      .serverId = message.serverId,
      .schedule = scheduleOf(ia->renewSeconds, ia->rebindSeconds, entry->validSeconds, now)};
  for (const IpAddress& server : message.dnsServers) {
    if (lease.dns.nameservers.size() < kMaxServers && !server.isUnspecified())
      lease.dns.nameservers.push_back(server.text());
  }
  lease.dns.search = message.domainSearch;
  return lease;
}

cni::AddResult toResult(const Leases& leases, std::uint32_t priority) {
  cni::AddResult result;
  if (leases.v4) {
    result.ips.push_back(
        {.address = leases.v4->address, .gateway = leases.v4->gateway, .interface = {}});
    result.routes = leases.v4->routes;
    for (cni::Route& route : result.routes) {
      if (priority != 0) route.priority = priority;
      route.mtuBytes = leases.v4->mtuBytes;
    }
    result.dns = leases.v4->dns;
  }
  if (leases.v6) {
    result.ips.push_back({.address = leases.v6->address, .gateway = {}, .interface = {}});
    append(result.dns.nameservers, leases.v6->dns.nameservers);
    append(result.dns.search, leases.v6->dns.search);
  }
  return result;
}

}  // namespace culvert::ipam::dhcp
