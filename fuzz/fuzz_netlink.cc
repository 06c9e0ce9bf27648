// Messages from the kernel: attributes, acknowledgements, and the rtnetlink objects in replies.
// Bytes 0 and 1 are the message's type, byte 2 its flags.

#include <linux/rtnetlink.h>

#include "fuzz/check.h"
#include "netlink/link.h"
#include "netlink/message.h"
#include "netlink/socket.h"

using namespace culvert;
using fuzz::check;

namespace {

constexpr int kMaxDepth = 8;
constexpr std::array<std::uint16_t, 6> kTypes{RTM_NEWLINK, RTM_NEWADDR,  RTM_NEWROUTE,
                                              RTM_NEWRULE, RTM_NEWNEIGH, NLMSG_ERROR};

/// Every attribute lies within `bytes`, however deep; reading it as each type reads only that.
void walk(std::string_view bytes, int depth) {
  const netlink::Attributes attributes(bytes);
  std::size_t seen = 0;
  attributes.forEach([&](std::uint16_t type, std::string_view value) {
    check(
        value.data() >= bytes.data() && value.data() + value.size() <= bytes.data() + bytes.size(),
        "inside its message");
    seen += value.size();
    check(attributes.has(type), "what is listed is found");
    (void)attributes.u8(type);
    (void)attributes.u16(type);
    (void)attributes.u32(type);
    (void)attributes.u64(type);
    const auto text = attributes.string(type);
    check(!text || text->find('\0') == std::string::npos, "text ends at the first NUL");
    (void)attributes.address(type, Family::kV4);
    (void)attributes.address(type, Family::kV6);
    if (depth < kMaxDepth) walk(value, depth + 1);
  });
  check(seen <= bytes.size(), "attributes do not overlap");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  netlink::Reply reply;
  reply.type = data[0] < kTypes.size() ? kTypes.at(data[0])
                                       : static_cast<std::uint16_t>(data[0] | data[1] << 8);
  reply.flags = static_cast<std::uint16_t>(data[2] << 8);
  reply.payload = fuzz::asText(data + 3, size - 3);

  walk(reply.payload, 0);
  (void)netlink::parseAck(reply.payload, reply.flags);
  (void)netlink::parseLink(reply);
  if (const auto address = netlink::parseAddress(reply)) {
    check(address->prefix.length() <= addressBits(address->prefix.family()), "prefix length");
  }
  for (const netlink::RouteSpec& route : netlink::parseRoutes(reply)) {
    check(route.dst.length() <= addressBits(route.dst.family()), "prefix length");
  }
  (void)netlink::parseRule(reply);
  (void)netlink::parseNeighbour(reply);
  (void)netlink::parsePortVlans(reply);
  return 0;
}
