#include "ipam/dhcp/record.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/digest.h"
#include "base/file.h"
#include "ipam/dhcp/json_fields.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr std::size_t kMaxRecordBytes = 256 * 1024;
constexpr std::size_t kPartDigits = 16;
// No machine is up for longer, and arithmetic with it does not overflow. For ever is kNever.
constexpr Instant kFarthest = std::chrono::hours(24 * 365 * 1000);
constexpr unsigned kDirectoryMode = 0700, kFileMode = 0600;

json routeJson(const cni::Route& route) {
  json object{{"dst", route.dst.text()}};
  if (route.gw) object["gw"] = route.gw->text();
  if (route.scope) object["scope"] = *route.scope;
  return object;
}

Result<cni::Route> parseRoute(const json& object) {
  cni::Route route;
  route.dst = TRY(parsedField<IpPrefix>(object, "dst"));
  route.gw = TRY(optionalField<IpAddress>(object, "gw"));
  if (findField(object, "scope") != nullptr)
    route.scope = TRY(integerField<std::uint8_t>(object, "scope"));
  return route;
}

json dnsJson(const cni::Dns& dns) {
  return {{"nameservers", dns.nameservers}, {"domain", dns.domain}, {"search", dns.search}};
}

Result<cni::Dns> parseDns(const json& object) {
  const json* dns = findField(object, "dns");
  if (dns == nullptr) return badField("dns", "an object");
  cni::Dns out;
  out.nameservers = TRY(textsField(*dns, "nameservers"));
  out.domain = TRY(textField(*dns, "domain"));
  out.search = TRY(textsField(*dns, "search"));
  return out;
}

json scheduleJson(const Schedule& schedule) {
  return {{"renewAt", schedule.renewAt.count()},
          {"rebindAt", schedule.rebindAt.count()},
          {"expiresAt", schedule.expiresAt.count()}};
}

Result<Schedule> parseSchedule(const json& object) {
  const Schedule schedule{Instant(TRY(integerField<std::int64_t>(object, "renewAt"))),
                          Instant(TRY(integerField<std::int64_t>(object, "rebindAt"))),
                          Instant(TRY(integerField<std::int64_t>(object, "expiresAt")))};
  if (schedule.renewAt > schedule.rebindAt || schedule.rebindAt > schedule.expiresAt)
    return badField("renewAt", "before rebindAt, and that before expiresAt");
  const bool forever = schedule.renewAt == kNever;
  if (!forever && schedule.expiresAt > kFarthest) return badField("expiresAt", "a time to come");
  return schedule;
}

json leaseJson(const Lease4& lease) {
  json object = scheduleJson(lease.schedule);
  object["address"] = lease.address.text();
  if (lease.gateway) object["gateway"] = lease.gateway->text();
  object["routes"] = json::array();
  for (const cni::Route& route : lease.routes)
    object["routes"].push_back(routeJson(route));
  object["dns"] = dnsJson(lease.dns);
  if (lease.mtuBytes) object["mtu"] = *lease.mtuBytes;
  object["server"] = lease.server.text();
  if (lease.serverMac) object["serverMac"] = lease.serverMac->text();
  return object;
}

// Field by field, here and below: gcc 12 forgets the members that an aggregate has already when a
// TRY among its initialisers returns.
Result<Lease4> parseLease4(const json& object) {
  Lease4 lease;
  lease.address = TRY(parsedField<IpPrefix>(object, "address"));
  lease.gateway = TRY(optionalField<IpAddress>(object, "gateway"));
  lease.dns = TRY(parseDns(object));
  lease.server = TRY(parsedField<IpAddress>(object, "server"));
  lease.serverMac = TRY(optionalField<MacAddress>(object, "serverMac"));
  lease.schedule = TRY(parseSchedule(object));
  if (lease.address.family() != Family::kV4) return badField("address", "an IPv4 address");
  if (lease.server.family() != Family::kV4) return badField("server", "an IPv4 address");
  if (findField(object, "mtu") != nullptr)
    lease.mtuBytes = TRY(integerField<std::uint16_t>(object, "mtu"));
  for (const json& each : TRY(listField(object, "routes")))
    lease.routes.push_back(TRY(parseRoute(each)));
  return lease;
}

json leaseJson(const Lease6& lease) {
  json object = scheduleJson(lease.schedule);
  object["address"] = lease.address.text();
  object["dns"] = dnsJson(lease.dns);
  object["serverId"] = toHex(lease.serverId);
  return object;
}

Result<Lease6> parseLease6(const json& object) {
  Lease6 lease;
  lease.address = TRY(parsedField<IpPrefix>(object, "address"));
  lease.dns = TRY(parseDns(object));
  lease.serverId = TRY(bytesField(object, "serverId"));
  lease.schedule = TRY(parseSchedule(object));
  if (lease.address.family() != Family::kV6) return badField("address", "an IPv6 address");
  return lease;
}

Result<Options4> parseProvide(const json& object) {
  Options4 options;
  for (const json& each : TRY(listField(object, "provide"))) {
    const auto code = TRY(integerField<std::uint8_t>(each, "option"));
    std::string value = TRY(bytesField(each, "value"));
    if (value.size() > 255) return badField("value", "at most 255 bytes");
    options[code] = std::move(value);
  }
  return options;
}

bool isKey(std::string_view name) {
  const auto isDigit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return name.size() == 2 * kPartDigits + 1 && name[kPartDigits] == '-' &&
         static_cast<std::size_t>(std::count_if(name.begin(), name.end(), isDigit)) ==
             2 * kPartDigits;
}

}  // namespace

std::string networkPart(std::string_view network) {
  return sha512Hex(network, kPartDigits);
}

std::string recordKey(std::string_view network, std::string_view containerId,
                      std::string_view ifName) {
  return networkPart(network) + "-" +
         sha512Hex(std::string(containerId) + ":" + std::string(ifName), kPartDigits);
}

std::string Order::key() const {
  return recordKey(network, containerId, ifName);
}

json toJson(const Order& order) {
  json provide = json::array();
  for (const auto& [code, value] : order.provide)
    provide.push_back({{"option", code}, {"value", toHex(value)}});
  return {{"containerId", order.containerId},
          {"network", order.network},
          {"ifName", order.ifName},
          {"netns", order.netns},
          {"v4", order.v4},
          {"v6", order.v6},
          {"provide", provide},
          {"request", order.request}};
}

json toJson(const Leases& leases) {
  json object = json::object();
  if (leases.v4) object["v4"] = leaseJson(*leases.v4);
  if (leases.v6) object["v6"] = leaseJson(*leases.v6);
  return object;
}

json toJson(const Record& record) {
  return {{"order", toJson(record.order)},   {"device", record.place.device},
          {"inode", record.place.inode},     {"mac", record.place.mac.text()},
          {"leases", toJson(record.leases)}, {"bootId", record.bootId}};
}

Result<Order> parseOrder(const json& object) {
  Order order;
  order.containerId = TRY(textField(object, "containerId"));
  order.network = TRY(textField(object, "network"));
  order.ifName = TRY(textField(object, "ifName"));
  order.netns = TRY(textField(object, "netns"));
  order.v4 = TRY(boolField(object, "v4"));
  order.v6 = TRY(boolField(object, "v6"));
  order.provide = TRY(parseProvide(object));
  for (const json& each : TRY(listField(object, "request")))
    order.request.push_back(TRY(integerOf<std::uint8_t>(each, "request")));
  if (order.request.size() > 255) return badField("request", "at most 255 options");
  if (order.ifName.empty() || order.ifName.size() > 15) return badField("ifName", "a name");
  if (!order.v4 && !order.v6) return badField("v4", "true, nor is 'v6'");
  return order;
}

Result<Leases> parseLeases(const json& object) {
  Leases leases;
  if (const json* lease = findField(object, "v4")) leases.v4 = TRY(parseLease4(*lease));
  if (const json* lease = findField(object, "v6")) leases.v6 = TRY(parseLease6(*lease));
  return leases;
}

Result<Record> parseRecord(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  const json* order = findField(object, "order");
  const json* leases = findField(object, "leases");
  if (order == nullptr || leases == nullptr)
    return makeError(Errc::kDecode, "not a lease's record");
  Record record;
  record.order = TRY(parseOrder(*order));
  record.place.device = TRY(integerField<std::uint64_t>(object, "device"));
  record.place.inode = TRY(integerField<std::uint64_t>(object, "inode"));
  record.place.mac = TRY(parsedField<MacAddress>(object, "mac"));
  record.leases = TRY(parseLeases(*leases));
  record.bootId = TRY(textField(object, "bootId"));
  return record;
}

Result<std::string> currentBootId() {
  std::string id = TRY(readFile("/proc/sys/kernel/random/boot_id", 64));
  while (!id.empty() && id.back() == '\n')
    id.pop_back();
  return id;
}

Result<void> Store::ensure() const {
  return ensureDirectory(directory_, kDirectoryMode);
}

Result<void> Store::write(const Record& record) const {
  return replaceFile(path(record.order.key()),
                     toJson(record).dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
                     kFileMode);
}

Result<Record> Store::read(const std::string& key) const {
  return parseRecord(TRY(readFile(path(key), kMaxRecordBytes))).context(path(key));
}

bool Store::contains(const std::string& key) const {
  struct stat info {};
  return ::lstat(path(key).c_str(), &info) == 0;
}

Result<void> Store::remove(const std::string& key) const {
  return removeFile(path(key));
}

Result<std::vector<std::string>> Store::list(std::string_view network) const {
  const auto names = listDirectory(directory_);
  if (!names && names.error().code == Errc::kNotFound) return std::vector<std::string>();
  if (!names) return names.error();
  const std::string prefix = network.empty() ? "" : networkPart(network) + "-";
  std::vector<std::string> keys;
  for (const std::string& name : *names) {
    if (isKey(name) && name.starts_with(prefix)) keys.push_back(name);
  }
  return keys;
}

}  // namespace culvert::ipam::dhcp
