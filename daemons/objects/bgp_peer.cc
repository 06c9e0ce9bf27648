#include "daemons/objects/bgp_peer.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

using cni::ConfigReader;

std::optional<Selector> readSelector(const ConfigReader& reader, std::string_view key) {
  const std::string text = reader.string(key);
  if (text.empty()) return std::nullopt;
  auto parsed = Selector::parse(text);
  if (parsed) return *parsed;
  reader.problem(key, "is not a selector: " + parsed.error().message);
  return std::nullopt;
}

std::optional<std::uint16_t> portNumber(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = error == std::errc() && end == text.data() + text.size() && port > 0;
  return whole ? std::optional(port) : std::nullopt;
}

/// "198.18.0.1", "198.18.0.1:1790", "fd18::1", "[fd18::1]:1790"
bool splitPeerIp(const std::string& text, BgpPeer& peer) {
  peer.peerIp = IpAddress::parse(text);
  if (peer.peerIp) return true;
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  std::string address = text.substr(0, colon);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  const auto port = portNumber(std::string_view(text).substr(colon + 1));
  peer.peerIp = IpAddress::parse(address);
  peer.peerPort = port.value_or(0);
  return peer.peerIp && port;
}

void readWho(const ConfigReader& spec, BgpPeer& peer) {
  peer.node = spec.string("node");
  if (!peer.node.empty() && spec.has("nodeSelector"))
    spec.problem("nodeSelector", "cannot stand beside node");
  peer.nodeSelector = readSelector(spec, "nodeSelector").value_or(Selector());
  peer.localAsNumber = readAsNumber(spec, "localASNumber").value_or(0);
}

void readWithWhom(const ConfigReader& spec, BgpPeer& peer) {
  const std::string peerIp = spec.string("peerIP");
  peer.peerSelector = readSelector(spec, "peerSelector");
  peer.asNumber = readAsNumber(spec, "asNumber").value_or(0);
  if (spec.has("localWorkloadSelector"))
    spec.problem("localWorkloadSelector", "is not supported: peers are routers or nodes");
  if (peerIp.empty() && !spec.has("peerSelector"))
    spec.problem("peerIP", "is required where there is no peerSelector");
  if (peerIp.empty()) return;
  if (spec.has("peerSelector")) spec.problem("peerSelector", "cannot stand beside peerIP");
  if (!splitPeerIp(peerIp, peer))
    spec.problem("peerIP", "is not an address, with or without :port");
  if (!spec.has("asNumber")) spec.problem("asNumber", "is required with peerIP");
}

void readTransport(const ConfigReader& spec, BgpPeer& peer) {
  peer.password = readSecretKeyRef(spec, "password");
  peer.sourceNodeIp = readChoice(spec, "sourceAddress", {"UseNodeIP", "None"}, 0) == 0;
  peer.keepaliveTime = readSeconds(spec, "keepaliveTime", 1, 21845);
  peer.ttlSecurity = static_cast<std::uint8_t>(spec.integer("ttlSecurity", 0, 254).value_or(0));
  peer.reachableBy = spec.address("reachableBy");
  if (peer.reachableBy && peer.peerIp && peer.reachableBy->family() != peer.peerIp->family())
    spec.problem("reachableBy", "is not of peerIP's family");
  peer.bfd = readBfd(spec);
  peer.maxRestartTime = readSeconds(spec, "maxRestartTime", 1, 4095);
  peer.gracefulRestart = readGracefulRestart(spec);
}

void readPolicy(const ConfigReader& spec, BgpPeer& peer) {
  const bool keep = spec.boolean("keepOriginalNextHop");
  peer.nextHopMode = static_cast<NextHopMode>(
      readChoice(spec, "nextHopMode", {"Auto", "Self", "Keep"}, keep ? 2 : 0));
  peer.numAllowedLocalAsNumbers =
      static_cast<std::uint32_t>(spec.integer("numAllowedLocalASNumbers", 0, 255).value_or(0));
  peer.filters = spec.strings("filters");
  peer.reversePeering = readChoice(spec, "reversePeering", {"Auto", "Manual"}, 0) == 0;
  peer.importLimit = readPrefixLimit(spec, "importLimit");
  peer.exportLimit = readPrefixLimit(spec, "exportLimit");
}

}  // namespace

Result<BgpPeer> BgpPeer::parse(const nlohmann::json& object) {
  cni::Problems problems;
  const ConfigReader reader(object, "", problems);
  const ConfigReader spec = reader.object("spec");
  BgpPeer peer;
  peer.name = readName(reader);
  readWho(spec, peer);
  readWithWhom(spec, peer);
  readTransport(spec, peer);
  readPolicy(spec, peer);
  TRY(problems.take());
  return peer;
}

}  // namespace culvert::objects
