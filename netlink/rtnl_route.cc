#include <linux/fib_rules.h>

#include <algorithm>
#include <array>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

/// Whether routes of the type lead anywhere: not blackhole, unreachable, prohibit, throw.
bool isForwarding(std::uint8_t type) {
  return type < RTN_BLACKHOLE || type > RTN_THROW;
}

std::uint8_t scopeOf(const RouteSpec& route) {
  if (route.scope) return *route.scope;
  const bool direct = !route.gateway && !route.nexthopId && isForwarding(route.type);
  return direct && route.dst.family() == Family::kV4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
}

/// RTA_VIA: a gateway of another family (struct rtvia).
std::optional<IpAddress> readVia(const Attributes& attributes) {
  const auto via = attributes.find(RTA_VIA);
  std::uint16_t family = 0;
  if (!via || via->size() < sizeof family) return std::nullopt;
  std::memcpy(&family, via->data(), sizeof family);
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  const auto known = static_cast<Family>(family);
  if (via->size() != sizeof family + addressBytes(known)) return std::nullopt;
  return IpAddress::fromBytes(known, via->data() + sizeof family);
}

/// One next hop of an RTA_MULTIPATH, or the route's own.
void readHop(const Attributes& attributes, unsigned flags, RouteSpec& route) {
  route.gateway = attributes.address(RTA_GATEWAY, route.dst.family());
  if (!route.gateway) route.gateway = readVia(attributes);
  if (const auto link = attributes.u32(RTA_OIF)) route.link = static_cast<IfIndex>(*link);
  route.onLink = (flags & RTNH_F_ONLINK) != 0;
  route.encap = parseEncap(attributes.u16(RTA_ENCAP_TYPE), attributes.nested(RTA_ENCAP));
}

std::vector<RouteSpec> splitHops(std::string_view hops, const RouteSpec& shared) {
  std::vector<RouteSpec> routes;
  while (hops.size() >= sizeof(rtnexthop)) {
    rtnexthop hop{};
    std::memcpy(&hop, hops.data(), sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > hops.size()) break;
    RouteSpec route = shared;
    route.link = static_cast<IfIndex>(hop.rtnh_ifindex);
    readHop(Attributes(hops.substr(sizeof hop, hop.rtnh_len - sizeof hop)), hop.rtnh_flags, route);
    routes.push_back(route);
    hops.remove_prefix(std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), hops.size()));
  }
  return routes;
}

void putGateway(Batch& batch, const RouteSpec& route) {
  const IpAddress& gateway = *route.gateway;
  if (gateway.family() == route.dst.family()) return batch.putAddress(RTA_GATEWAY, gateway);
  std::array<char, 2 + 16> via{};
  const auto family = static_cast<std::uint16_t>(gateway.family());
  std::memcpy(via.data(), &family, sizeof family);
  std::memcpy(via.data() + sizeof family, gateway.bytes(), gateway.size());
  batch.put(RTA_VIA, via.data(), sizeof family + gateway.size());
}

void putPrefix(Batch& batch, std::uint16_t type, const IpPrefix& prefix) {
  if (!prefix.isDefault()) batch.putAddress(type, prefix.network().address());
}

void addRuleRequest(Work& work, std::uint16_t type, std::uint16_t flags, const RuleSpec& rule) {
  fib_rule_hdr header{};
  header.family = static_cast<std::uint8_t>(rule.family);
  header.src_len = rule.source ? rule.source->length() : 0;
  header.dst_len = rule.destination ? rule.destination->length() : 0;
  header.action = FR_ACT_TO_TBL;
  work.begin((type == RTM_NEWRULE ? "create rule for table " : "remove rule for table ") +
                 std::to_string(rule.table),
             type, flags, header);
  Batch& batch = work.batch;
  if (rule.source) putPrefix(batch, FRA_SRC, *rule.source);
  if (rule.destination) putPrefix(batch, FRA_DST, *rule.destination);
  if (rule.mark) batch.putU32(FRA_FWMARK, *rule.mark);
  if (rule.markMask) batch.putU32(FRA_FWMASK, *rule.markMask);
  if (!rule.inLink.empty()) batch.putString(FRA_IIFNAME, rule.inLink);
  if (rule.priority) batch.putU32(FRA_PRIORITY, *rule.priority);
  batch.putU32(FRA_TABLE, rule.table);
  if (rule.protocol != 0) batch.putU8(FRA_PROTOCOL, rule.protocol);
}

}  // namespace

std::string describe(const RouteSpec& route) {
  std::string text = route.dst.isDefault() ? "default" : route.dst.text();
  if (route.gateway) text += " via " + route.gateway->text();
  if (route.nexthopId) text += " nhid " + std::to_string(*route.nexthopId);
  return text;
}

void putRoute(Batch& batch, std::uint16_t type, std::uint16_t flags, const RouteSpec& route) {
  const std::uint32_t table = route.table.value_or(RT_TABLE_MAIN);
  rtmsg header{};
  header.rtm_family = static_cast<std::uint8_t>(route.dst.family());
  header.rtm_dst_len = route.dst.length();
  header.rtm_table = static_cast<std::uint8_t>(table < 256 ? table : RT_TABLE_UNSPEC);
  header.rtm_protocol =
      type == RTM_DELROUTE ? static_cast<std::uint8_t>(RTPROT_UNSPEC) : route.protocol;
  header.rtm_scope =
      type == RTM_DELROUTE && !route.scope ? std::uint8_t{RT_SCOPE_NOWHERE} : scopeOf(route);
  header.rtm_type = route.type;
  header.rtm_flags = route.onLink ? RTNH_F_ONLINK : 0;
  batch.begin(type, flags, header);
  putPrefix(batch, RTA_DST, route.dst);
  if (route.gateway) putGateway(batch, route);
  if (route.source) batch.putAddress(RTA_PREFSRC, *route.source);
  if (route.link != IfIndex::kNone) batch.putU32(RTA_OIF, raw(route.link));
  if (route.priority) batch.putU32(RTA_PRIORITY, *route.priority);
  batch.putU32(RTA_TABLE, table);
  if (route.nexthopId) batch.putU32(RTA_NH_ID, *route.nexthopId);
  if (route.encap) putEncap(batch, RTA_ENCAP_TYPE, RTA_ENCAP, *route.encap);
  if (!route.mtuBytes && !route.advmssBytes) return;
  const auto metrics = batch.nest(RTA_METRICS);
  if (route.mtuBytes) batch.putU32(RTAX_MTU, *route.mtuBytes);
  if (route.advmssBytes) batch.putU32(RTAX_ADVMSS, *route.advmssBytes);
}

void addRouteRequest(Work& work, std::uint16_t type, std::uint16_t flags, const RouteSpec& route) {
  putRoute(work.batch, type, flags, route);
  work.doing.push_back((type == RTM_NEWROUTE ? "add route " : "remove route ") + describe(route));
  work.mayExist.push_back(type == RTM_NEWROUTE);
}

std::vector<RouteSpec> parseRoutes(const Reply& reply) {
  if (reply.type != RTM_NEWROUTE) return {};
  const auto header = reply.header<rtmsg>();
  if (header.rtm_family != AF_INET && header.rtm_family != AF_INET6) return {};
  const auto family = static_cast<Family>(header.rtm_family);
  if (header.rtm_dst_len > addressBits(family)) return {};
  const Attributes attributes = reply.attributes(sizeof header);
  RouteSpec route;
  const auto dst = attributes.address(RTA_DST, family);
  route.dst = IpPrefix(dst.value_or(IpAddress::unspecified(family)), header.rtm_dst_len);
  route.source = attributes.address(RTA_PREFSRC, family);
  route.table = attributes.u32(RTA_TABLE).value_or(header.rtm_table);
  route.scope = header.rtm_scope;
  route.priority = attributes.u32(RTA_PRIORITY);
  route.protocol = header.rtm_protocol;
  route.type = header.rtm_type;
  const Attributes metrics = attributes.nested(RTA_METRICS);
  route.mtuBytes = metrics.u32(RTAX_MTU);
  route.advmssBytes = metrics.u32(RTAX_ADVMSS);
  route.nexthopId = attributes.u32(RTA_NH_ID);
  const auto hops = attributes.find(RTA_MULTIPATH);
  if (hops && !route.nexthopId) return splitHops(*hops, route);
  readHop(attributes, header.rtm_flags, route);
  return {route};
}

Result<std::vector<RouteSpec>> Rtnl::listRoutes(Family family, std::uint32_t table) {
  return listRoutes({.family = family, .table = table});
}

Result<std::vector<RouteSpec>> Rtnl::listRoutes(const RouteFilter& filter) {
  Batch batch;
  rtmsg header{};
  header.rtm_family = static_cast<std::uint8_t>(filter.family);
  header.rtm_protocol = filter.protocol;
  batch.begin(RTM_GETROUTE, NLM_F_DUMP, header);
  if (filter.table != 0) batch.putU32(RTA_TABLE, filter.table);
  if (filter.link != IfIndex::kNone) batch.putU32(RTA_OIF, raw(filter.link));
  std::vector<RouteSpec> routes;
  auto replies = socket_.dump(batch);
  // A table that was never used does not exist for the kernel's filter; it is simply empty.
  if (!replies && filter.table != 0 && replies.error().code == Errc::kNotFound) return routes;
  if (!replies) return std::move(replies).error().wrap("list routes");
  for (const Reply& reply : *replies) {
    for (const RouteSpec& route : parseRoutes(reply))
      routes.push_back(route);
  }
  return routes;
}

Result<RouteSpec> Rtnl::findRoute(const IpAddress& destination) {
  return findRoute(RouteQuery{.destination = destination});
}

Result<RouteSpec> Rtnl::findRoute(const RouteQuery& query) {
  const IpAddress& destination = query.destination;
  Work work;
  rtmsg header{};
  header.rtm_family = static_cast<std::uint8_t>(destination.family());
  header.rtm_dst_len = addressBits(destination.family());
  header.rtm_src_len = query.source ? addressBits(query.source->family()) : std::uint8_t{0};
  work.begin("find the route to " + destination.text(), RTM_GETROUTE, 0, header);
  work.batch.putAddress(RTA_DST, destination);
  if (query.source) work.batch.putAddress(RTA_SRC, *query.source);
  if (query.link != IfIndex::kNone) work.batch.putU32(RTA_OIF, raw(query.link));
  if (query.mark) work.batch.putU32(RTA_MARK, *query.mark);
  for (const Answer& answer : TRY(run(socket_, work))) {
    for (const Reply& reply : answer.replies) {
      for (const RouteSpec& route : parseRoutes(reply))
        return route;
    }
  }
  return makeError(Errc::kIo, "find the route to " + destination.text() + ": no answer");
}

Result<void> Rtnl::addRoute(const RouteSpec& route) {
  Work work;
  addRouteRequest(work, RTM_NEWROUTE, NLM_F_CREATE, route);
  return runAll(socket_, work);
}

Result<void> Rtnl::replaceRoute(const RouteSpec& route) {
  Work work;
  addRouteRequest(work, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
  return runAll(socket_, work);
}

Result<void> Rtnl::removeRoute(const RouteSpec& route) {
  Work work;
  addRouteRequest(work, RTM_DELROUTE, 0, route);
  return runAll(socket_, work);
}

std::optional<RuleSpec> parseRule(const Reply& reply) {
  if (reply.type != RTM_NEWRULE) return std::nullopt;
  const auto header = reply.header<fib_rule_hdr>();
  if (header.family != AF_INET && header.family != AF_INET6) return std::nullopt;
  RuleSpec rule;
  rule.family = static_cast<Family>(header.family);
  const std::uint8_t bits = addressBits(rule.family);
  if (header.src_len > bits || header.dst_len > bits) return std::nullopt;
  const Attributes attributes = reply.attributes(sizeof header);
  if (const auto source = attributes.address(FRA_SRC, rule.family))
    rule.source = IpPrefix(*source, header.src_len);
  if (const auto dst = attributes.address(FRA_DST, rule.family))
    rule.destination = IpPrefix(*dst, header.dst_len);
  rule.mark = attributes.u32(FRA_FWMARK);
  rule.markMask = attributes.u32(FRA_FWMASK);
  rule.inLink = attributes.string(FRA_IIFNAME).value_or("");
  rule.table = attributes.u32(FRA_TABLE).value_or(header.table);
  rule.priority = attributes.u32(FRA_PRIORITY);
  rule.protocol = attributes.u8(FRA_PROTOCOL).value_or(0);
  return rule;
}

Result<std::vector<RuleSpec>> Rtnl::listRules(Family family) {
  Batch batch;
  fib_rule_hdr header{};
  header.family = static_cast<std::uint8_t>(family);
  batch.begin(RTM_GETRULE, NLM_F_DUMP, header);
  std::vector<RuleSpec> rules;
  for (const Reply& reply : TRY(socket_.dump(batch))) {
    if (auto rule = parseRule(reply)) rules.push_back(std::move(*rule));
  }
  return rules;
}

Result<void> Rtnl::createRule(const RuleSpec& rule) {
  Work work;
  addRuleRequest(work, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
  return runAll(socket_, work);
}

Result<void> Rtnl::removeRule(const RuleSpec& rule) {
  Work work;
  addRuleRequest(work, RTM_DELRULE, 0, rule);
  return runAll(socket_, work);
}

}  // namespace culvert::netlink
