#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

// RTM_SETLINK and RTM_DELLINK of AF_BRIDGE: IFLA_AF_SPEC { [IFLA_BRIDGE_FLAGS]
// IFLA_BRIDGE_VLAN_INFO … }
// (`bridge vlan add vid 10-20 dev PORT [self]`); a range is two entries, begin and end.
void addVlanRequest(Work& work, std::uint16_t type, IfIndex port,
                    const std::vector<PortVlan>& vlans, bool self) {
  ifinfomsg header{};
  header.ifi_family = AF_BRIDGE;
  header.ifi_index = asInt(port);
  work.begin(type == RTM_SETLINK ? "add VLANs to the port" : "remove VLANs from the port", type, 0,
             header);
  Batch& batch = work.batch;
  const auto spec = batch.nest(IFLA_AF_SPEC);
  if (self) batch.putU16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF);
  for (const PortVlan& vlan : vlans) {
    const auto flags = static_cast<std::uint16_t>((vlan.pvid ? BRIDGE_VLAN_INFO_PVID : 0) |
                                                  (vlan.untagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0));
    const auto put = [&](std::uint16_t extra, VlanId id) {
      const bridge_vlan_info info{static_cast<std::uint16_t>(flags | extra), id};
      batch.put(IFLA_BRIDGE_VLAN_INFO, &info, sizeof info);
    };
    if (vlan.first == vlan.last) {
      put(0, vlan.first);
    } else {
      put(BRIDGE_VLAN_INFO_RANGE_BEGIN, vlan.first);
      put(BRIDGE_VLAN_INFO_RANGE_END, vlan.last);
    }
  }
}

}  // namespace

std::vector<PortVlan> parsePortVlans(const Reply& reply) {
  std::vector<PortVlan> vlans;
  if (reply.type != RTM_NEWLINK) return vlans;
  VlanId begin = 0;
  reply.attributes(sizeof(ifinfomsg))
      .nested(IFLA_AF_SPEC)
      .forEach([&](std::uint16_t type, std::string_view value) {
        bridge_vlan_info info{};
        if (type != IFLA_BRIDGE_VLAN_INFO || value.size() != sizeof info) return;
        std::memcpy(&info, value.data(), sizeof info);
        if ((info.flags & BRIDGE_VLAN_INFO_RANGE_BEGIN) != 0) {
          begin = info.vid;
          return;
        }
        const bool ends = (info.flags & BRIDGE_VLAN_INFO_RANGE_END) != 0 && begin != 0;
        vlans.push_back({.first = ends ? begin : info.vid,
                         .last = info.vid,
                         .pvid = (info.flags & BRIDGE_VLAN_INFO_PVID) != 0,
                         .untagged = (info.flags & BRIDGE_VLAN_INFO_UNTAGGED) != 0});
        begin = 0;
      });
  return vlans;
}

Result<std::vector<PortVlan>> Rtnl::listPortVlans(IfIndex port) {
  Batch batch;
  ifinfomsg header{};
  header.ifi_family = AF_BRIDGE;
  batch.begin(RTM_GETLINK, NLM_F_DUMP, header);
  batch.putU32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED);
  for (const Reply& reply : TRY(socket_.dump(batch))) {
    if (reply.header<ifinfomsg>().ifi_index == asInt(port)) return parsePortVlans(reply);
  }
  return makeError(Errc::kNotFound,
                   "link " + std::to_string(raw(port)) + " is neither a bridge nor a port of one");
}

Result<void> Rtnl::addPortVlans(IfIndex port, const std::vector<PortVlan>& vlans, bool self) {
  if (vlans.empty()) return {};
  Work work;
  addVlanRequest(work, RTM_SETLINK, port, vlans, self);
  return runAll(socket_, work);
}

Result<void> Rtnl::removePortVlans(IfIndex port, const std::vector<PortVlan>& vlans, bool self) {
  if (vlans.empty()) return {};
  Work work;
  addVlanRequest(work, RTM_DELLINK, port, vlans, self);
  return runAll(socket_, work);
}

}  // namespace culvert::netlink
