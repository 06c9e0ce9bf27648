#include <arpa/inet.h>
#include <linux/lwtunnel.h>

#include "netlink/rtnl_internal.h"

// Lightweight tunnels: RTA_ENCAP and NHA_ENCAP (uapi/linux/lwtunnel.h). LWTUNNEL_IP6_* have the
// numbers of LWTUNNEL_IP_*.
namespace culvert::netlink {
namespace {

static_assert(int{LWTUNNEL_IP6_HOPLIMIT} == int{LWTUNNEL_IP_TTL} &&
              int{LWTUNNEL_IP6_TC} == int{LWTUNNEL_IP_TOS} &&
              int{LWTUNNEL_IP6_FLAGS} == int{LWTUNNEL_IP_FLAGS});

// TUNNEL_* of uapi/linux/if_tunnel.h, in network byte order.
constexpr std::uint16_t kTunnelChecksum = 0x0001;
constexpr std::uint16_t kTunnelKey = 0x0004;
constexpr std::uint16_t kTunnelDontFragment = 0x0100;

std::uint64_t swap64(std::uint64_t value) {
  return __builtin_bswap64(value);
}

std::uint16_t flagsOf(const TunnelEncap& encap) {
  return static_cast<std::uint16_t>(kTunnelKey | (encap.checksum ? kTunnelChecksum : 0) |
                                    (encap.dontFragment ? kTunnelDontFragment : 0));
}

}  // namespace

void putEncap(Batch& batch, std::uint16_t typeAttribute, std::uint16_t attribute,
              const TunnelEncap& encap) {
  const bool v4 = encap.destination.family() == Family::kV4;
  batch.putU16(typeAttribute, v4 ? LWTUNNEL_ENCAP_IP : LWTUNNEL_ENCAP_IP6);
  const auto nest = batch.nest(attribute);
  batch.putU64(LWTUNNEL_IP_ID, swap64(encap.id));
  batch.putAddress(LWTUNNEL_IP_DST, encap.destination);
  if (encap.source) batch.putAddress(LWTUNNEL_IP_SRC, *encap.source);
  if (encap.ttl != 0) batch.putU8(LWTUNNEL_IP_TTL, encap.ttl);
  if (encap.tos != 0) batch.putU8(LWTUNNEL_IP_TOS, encap.tos);
  batch.putU16(LWTUNNEL_IP_FLAGS, htons(flagsOf(encap)));
}

std::optional<TunnelEncap> parseEncap(const std::optional<std::uint16_t>& type,
                                      const Attributes& attributes) {
  if (type != LWTUNNEL_ENCAP_IP && type != LWTUNNEL_ENCAP_IP6) return std::nullopt;
  const Family family = type == LWTUNNEL_ENCAP_IP ? Family::kV4 : Family::kV6;
  const auto destination = attributes.address(LWTUNNEL_IP_DST, family);
  if (!destination) return std::nullopt;
  const std::uint16_t flags = ntohs(attributes.u16(LWTUNNEL_IP_FLAGS).value_or(0));
  TunnelEncap encap{.id = swap64(attributes.u64(LWTUNNEL_IP_ID).value_or(0)),
                    .destination = *destination,
                    .source = attributes.address(LWTUNNEL_IP_SRC, family),
                    .ttl = attributes.u8(LWTUNNEL_IP_TTL).value_or(0),
                    .tos = attributes.u8(LWTUNNEL_IP_TOS).value_or(0),
                    .checksum = (flags & kTunnelChecksum) != 0,
                    .dontFragment = (flags & kTunnelDontFragment) != 0};
  if (encap.source && encap.source->isUnspecified()) encap.source.reset();
  return encap;
}

}  // namespace culvert::netlink
