#include "netlink/nexthop.h"

#include <linux/nexthop.h>

#include <algorithm>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

std::uint8_t familyOf(const NexthopSpec& nexthop) {
  if (!nexthop.group.empty()) return AF_UNSPEC;
  return static_cast<std::uint8_t>(nexthop.gateway ? nexthop.gateway->family() : nexthop.family);
}

void putGroup(Batch& batch, const std::vector<NexthopMember>& members) {
  std::vector<nexthop_grp> entries;
  entries.reserve(members.size());
  for (const NexthopMember& member : members)
    entries.push_back({.id = member.id, .weight = static_cast<std::uint8_t>(member.weight - 1)});
  batch.put(NHA_GROUP, entries.data(), entries.size() * sizeof(nexthop_grp));
}

void putTarget(Batch& batch, const NexthopSpec& nexthop) {
  batch.putU32(NHA_OIF, raw(nexthop.link));
  if (nexthop.gateway) batch.putAddress(NHA_GATEWAY, *nexthop.gateway);
  if (nexthop.encap) putEncap(batch, NHA_ENCAP_TYPE, NHA_ENCAP, *nexthop.encap);
}

std::vector<NexthopMember> parseGroup(std::string_view entries) {
  std::vector<NexthopMember> members;
  for (; entries.size() >= sizeof(nexthop_grp); entries.remove_prefix(sizeof(nexthop_grp))) {
    nexthop_grp entry{};
    std::memcpy(&entry, entries.data(), sizeof entry);
    members.push_back({.id = entry.id, .weight = static_cast<std::uint16_t>(entry.weight + 1)});
  }
  return members;
}

std::optional<Family> familyIn(std::uint8_t value) {
  if (value != AF_INET && value != AF_INET6) return std::nullopt;
  return static_cast<Family>(value);
}

/// `ip nexthop show id N`, or without an id all.
void putQuestion(Batch& batch, std::uint16_t flags, std::uint32_t id) {
  batch.begin(RTM_GETNEXTHOP, flags, nhmsg{});
  if (id != 0) batch.putU32(NHA_ID, id);
}

}  // namespace

void putNexthop(Batch& batch, std::uint16_t flags, const NexthopSpec& nexthop) {
  nhmsg header{};
  header.nh_family = familyOf(nexthop);
  header.nh_protocol = nexthop.protocol;
  header.nh_flags = nexthop.onLink ? RTNH_F_ONLINK : 0;
  batch.begin(RTM_NEWNEXTHOP, flags, header);
  batch.putU32(NHA_ID, nexthop.id);
  if (!nexthop.group.empty()) return putGroup(batch, nexthop.group);
  if (nexthop.blackhole) return batch.put(NHA_BLACKHOLE, nullptr, 0);
  putTarget(batch, nexthop);
}

void putNexthopRemoval(Batch& batch, std::uint32_t id) {
  batch.begin(RTM_DELNEXTHOP, 0, nhmsg{});
  batch.putU32(NHA_ID, id);
}

std::string describe(const NexthopSpec& nexthop) {
  std::string text = "nexthop " + std::to_string(nexthop.id);
  if (nexthop.blackhole) text += " blackhole";
  if (!nexthop.group.empty()) text += " of " + std::to_string(nexthop.group.size());
  if (nexthop.gateway) text += " via " + nexthop.gateway->text();
  if (nexthop.encap) {
    text += " encap id " + std::to_string(nexthop.encap->id) + " dst " +
            nexthop.encap->destination.text();
  }
  return text;
}

std::optional<NexthopSpec> parseNexthop(const Reply& reply) {
  if (reply.type != RTM_NEWNEXTHOP) return std::nullopt;
  const auto header = reply.header<nhmsg>();
  const Attributes attributes = reply.attributes(sizeof header);
  const auto group = attributes.find(NHA_GROUP);
  const auto family = familyIn(header.nh_family);
  const auto id = attributes.u32(NHA_ID);
  const bool resilient = attributes.u16(NHA_GROUP_TYPE).value_or(0) != NEXTHOP_GRP_TYPE_MPATH;
  if (!id || attributes.has(NHA_FDB) || resilient || (!group && !family)) return std::nullopt;
  NexthopSpec nexthop;
  nexthop.id = *id;
  nexthop.protocol = header.nh_protocol;
  if (group) {
    nexthop.group = parseGroup(*group);
    return nexthop;
  }
  nexthop.family = *family;
  nexthop.onLink = (header.nh_flags & RTNH_F_ONLINK) != 0;
  nexthop.blackhole = attributes.has(NHA_BLACKHOLE);
  nexthop.link = static_cast<IfIndex>(attributes.u32(NHA_OIF).value_or(0));
  nexthop.gateway = attributes.address(NHA_GATEWAY, *family);
  nexthop.encap = parseEncap(attributes.u16(NHA_ENCAP_TYPE), attributes.nested(NHA_ENCAP));
  return nexthop;
}

Result<std::vector<NexthopSpec>> Nexthops::list(std::uint8_t protocol) {
  Batch batch;
  putQuestion(batch, NLM_F_DUMP, 0);
  std::vector<NexthopSpec> nexthops;
  for (const Reply& reply : TRY(socket_.dump(batch).context("list nexthops"))) {
    auto nexthop = parseNexthop(reply);
    if (nexthop && (protocol == 0 || nexthop->protocol == protocol))
      nexthops.push_back(*std::move(nexthop));
  }
  return nexthops;
}

Result<NexthopSpec> Nexthops::find(std::uint32_t id) {
  Work work;
  putQuestion(work.batch, 0, id);
  work.doing.push_back("find nexthop " + std::to_string(id));
  work.mayExist.push_back(false);
  for (const Answer& answer : TRY(run(socket_, work))) {
    for (const Reply& reply : answer.replies) {
      if (auto nexthop = parseNexthop(reply)) return *std::move(nexthop);
    }
  }
  return makeError(Errc::kUnsupportedField, work.doing[0] + ": a kind that is not known here");
}

Result<void> Nexthops::write(std::uint16_t flags, const NexthopSpec& nexthop) {
  Batch batch;
  putNexthop(batch, flags, nexthop);
  const char* verb = (flags & NLM_F_EXCL) != 0 ? "create " : "replace ";
  return socket_.execute(batch).context(verb + describe(nexthop));
}

Result<void> Nexthops::create(const NexthopSpec& nexthop) {
  return write(NLM_F_CREATE | NLM_F_EXCL, nexthop);
}
Result<void> Nexthops::replace(const NexthopSpec& nexthop) {
  return write(NLM_F_CREATE | NLM_F_REPLACE, nexthop);
}

Result<void> Nexthops::remove(std::uint32_t id) {
  Batch batch;
  putNexthopRemoval(batch, id);
  return socket_.execute(batch).context("remove nexthop " + std::to_string(id));
}

}  // namespace culvert::netlink
