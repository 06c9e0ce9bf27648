#include "daemons/routing/wireguard_peers.h"

#include <algorithm>

#include "base/file.h"

namespace culvert::routing {
namespace {

using netlink::WireguardPeerChange;

constexpr std::size_t kKeyFileBytesMax = 1024;

}  // namespace

std::vector<WireguardPeerChange> diff(const WireguardPeers& actual, const WireguardPeers& desired) {
  std::vector<WireguardPeerChange> changes;
  for (const auto& [key, peer] : actual) {
    if (desired.count(key) == 0)
      changes.push_back({.key = key, .how = WireguardPeerChange::How::kRemove});
  }
  for (const auto& [key, peer] : desired) {
    const auto found = actual.find(key);
    const bool isNew = found == actual.end();
    if (!isNew && found->second == peer) continue;
    WireguardPeerChange change{.key = key};
    if (isNew || found->second.endpoint != peer.endpoint) change.endpoint = peer.endpoint;
    if (isNew || found->second.allowedIps != peer.allowedIps) change.allowedIps = peer.allowedIps;
    if (isNew || found->second.keepalive != peer.keepalive) change.keepalive = peer.keepalive;
    changes.push_back(std::move(change));
  }
  return changes;
}

WireguardPeers peersOf(const netlink::WireguardDevice& device) {
  WireguardPeers peers;
  for (const netlink::WireguardPeer& peer : device.peers) {
    WireguardPeerPlan plan{peer.endpoint.value_or(netlink::Endpoint{}), peer.allowedIps,
                           peer.keepalive};
    std::sort(plan.allowedIps.begin(), plan.allowedIps.end());
    peers[peer.key] = std::move(plan);
  }
  return peers;
}

Result<netlink::SecretKey> loadOrCreateKey(const std::string& path) {
  auto text = readFile(path, kKeyFileBytesMax);
  if (text) {
    while (!text->empty() && text->back() == '\n')
      text->pop_back();
    const auto key = netlink::SecretKey::parse(*text);
    netlink::wipe(*text);
    if (key) return *key;
    return makeError(Errc::kDecode, path + " does not hold a WireGuard key");
  }
  if (text.error().code != Errc::kNotFound) return std::move(text).error();
  const auto key = TRY(netlink::SecretKey::generate());
  TRY(ensureDirectory(path.substr(0, path.rfind('/')), 0755));
  TRY(keepKey(path, key));
  return key;
}

Result<void> keepKey(const std::string& path, const netlink::SecretKey& key) {
  std::string line = key.text();
  auto written = replaceFile(path, line, 0600);
  netlink::wipe(line);
  return std::move(written).context("keep the WireGuard key");
}

}  // namespace culvert::routing
