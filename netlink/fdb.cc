#include "netlink/fdb.h"

#include <arpa/inet.h>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {

/// bridge fdb replace MAC dev LINK dst REMOTE self permanent
void putFdbEntry(Batch& batch, std::uint16_t type, std::uint16_t flags, const FdbEntry& entry) {
  ndmsg header{};
  header.ndm_family = AF_BRIDGE;
  header.ndm_ifindex = asInt(entry.link);
  header.ndm_state = entry.state;
  header.ndm_flags = NTF_SELF;
  batch.begin(type, flags, header);
  batch.put(NDA_LLADDR, entry.mac.bytes(), 6);
  batch.putAddress(NDA_DST, entry.remote);
  if (entry.port != 0) batch.putU16(NDA_PORT, htons(entry.port));
  if (entry.vni != 0) batch.putU32(NDA_VNI, entry.vni);
}

std::string describe(const FdbEntry& entry) {
  return "forwarding entry " + entry.mac.text() + " to " + entry.remote.text();
}

std::optional<FdbEntry> parseFdbEntry(const Reply& reply) {
  const auto header = reply.header<ndmsg>();
  if (reply.type != RTM_NEWNEIGH || header.ndm_family != AF_BRIDGE) return std::nullopt;
  const Attributes attributes = reply.attributes(sizeof header);
  auto remote = attributes.address(NDA_DST, Family::kV4);
  if (!remote) remote = attributes.address(NDA_DST, Family::kV6);
  const auto mac = attributes.find(NDA_LLADDR);
  if (!remote || !mac || mac->size() != 6) return std::nullopt;
  return FdbEntry{.link = static_cast<IfIndex>(header.ndm_ifindex),
                  .mac = MacAddress::fromBytes(mac->data()),
                  .remote = *remote,
                  .port = ntohs(attributes.u16(NDA_PORT).value_or(0)),
                  .vni = attributes.u32(NDA_VNI).value_or(0),
                  .state = header.ndm_state};
}

Result<std::vector<FdbEntry>> ForwardingDatabase::list(IfIndex vxlan) {
  Batch batch;
  ndmsg header{};
  header.ndm_family = AF_BRIDGE;
  header.ndm_ifindex = asInt(vxlan);
  batch.begin(RTM_GETNEIGH, NLM_F_DUMP, header);
  std::vector<FdbEntry> entries;
  for (const Reply& reply : TRY(socket_.dump(batch).context("list forwarding entries"))) {
    auto entry = parseFdbEntry(reply);
    if (entry && entry->link == vxlan) entries.push_back(*entry);
  }
  return entries;
}

Result<void> ForwardingDatabase::ensure(const FdbEntry& entry) {
  Batch batch;
  putFdbEntry(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
  return socket_.execute(batch).context("set " + describe(entry));
}

Result<void> ForwardingDatabase::remove(const FdbEntry& entry) {
  Batch batch;
  putFdbEntry(batch, RTM_DELNEIGH, 0, entry);
  return socket_.execute(batch).context("remove " + describe(entry));
}

}  // namespace culvert::netlink
