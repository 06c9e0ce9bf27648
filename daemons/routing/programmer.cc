#include "daemons/routing/programmer.h"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "netlink/offload.h"
#include "netlink/sysctl.h"

namespace culvert::routing {
namespace {

using objects::Encapsulation;
using objects::Node;

constexpr Family kFamilies[] = {Family::kV4, Family::kV6};
/// The kernel's table has 1024 places for all purposes (neigh/default/gc_thresh3).
constexpr std::size_t kAskedMax = 500;

/// Turning on IPv6 forwarding makes the kernel ignore router advertisements (accept_ra 1), by which
/// this host may have its default route: 2 keeps them (ip-sysctl.rst).
Result<void> keepRouterAdvertisements(const UnderlayAddress& underlay) {
  const std::string path = "ipv6/conf/" + underlay.linkName + "/accept_ra";
  const auto now = netlink::readSysctl(path);
  if (!now || *now != "1") return {};
  return netlink::writeSysctl(path, "2");
}

Result<void> enableForwarding(const Underlay& underlay) {
  TRY(netlink::ensureSysctl("ipv4/ip_forward", "1"));
  if (!netlink::readSysctl("ipv6/conf/all/forwarding")) return {};  // a kernel without IPv6
  if (underlay.v6) TRY(keepRouterAdvertisements(*underlay.v6));
  return netlink::ensureSysctl("ipv6/conf/all/forwarding", "1");
}

std::set<IpAddress> endpointsOf(const Node* node) {
  std::set<IpAddress> result;
  for (const Family family : kFamilies) {
    if (node != nullptr && node->endpoint.of(family)) result.insert(*node->endpoint.of(family));
    if (node != nullptr && node->internal.of(family)) result.insert(*node->internal.of(family));
  }
  return result;
}

std::vector<TunnelRule> rulesInUse(const Surroundings& here, const Model& model) {
  std::set<TunnelRule> rules;
  for (const auto& [name, node] : model.nodes()) {
    for (const IpPrefix& network : model.networksOf(name))
      rules.insert(ruleFor(here, network));
  }
  return {rules.begin(), rules.end()};
}

bool anyTunnel(const std::vector<TunnelRule>& rules) {
  return std::any_of(rules.begin(), rules.end(), [](const TunnelRule& rule) {
    return rule.mode != objects::TunnelMode::kNever && rule.encapsulation != Encapsulation::kNone;
  });
}

std::vector<netlink::IfIndex> indexesOf(const std::vector<netlink::Link>& links) {
  std::vector<netlink::IfIndex> result;
  for (const netlink::Link& link : links) {
    if (link.kind == "vxlan") result.push_back(link.index);
  }
  return result;
}

/// Networks of pods that many nodes share: pools, and what the configuration adds.
std::vector<IpPrefix> wideNetworks(const Surroundings& here) {
  std::set<IpPrefix> networks(here.settings.clusterCidrs.begin(), here.settings.clusterCidrs.end());
  for (const objects::IpPool& pool : here.pools)
    networks.insert(pool.cidr);
  return {networks.begin(), networks.end()};
}

/// Sources that are masqueraded: our own pods, as far as their pool or the configuration says so.
std::vector<IpPrefix> masqueraded(const Surroundings& here, const Model& model) {
  std::vector<IpPrefix> result;
  for (const IpPrefix& network : model.ownNetworks()) {
    const auto pool = poolOf(here, network);
    if (pool != nullptr ? pool->natOutgoing : here.settings.natOutgoing) result.push_back(network);
  }
  return result;
}

}  // namespace

Result<std::unique_ptr<Programmer>> Programmer::open(const std::string& node,
                                                     const Settings& settings,
                                                     const std::string& keyFile) {
  auto rtnl = TRY(netlink::Rtnl::open());
  auto nft = TRY(nft::Connection::open());
  return std::unique_ptr<Programmer>(
      new Programmer(std::move(rtnl), std::move(nft), node, settings, keyFile));
}

Programmer::Programmer(netlink::Rtnl rtnl, nft::Connection nft, const std::string& node,
                       const Settings& settings, const std::string& keyFile)
    : rtnl_(std::move(rtnl)),
      nft_(std::move(nft)),
      keyFile_(keyFile),
      rotation_{settings.wireguardRotation, node} {
  here_.thisNode = node;
  here_.settings = settings;
  here_.reach = [this](const IpAddress& endpoint) { return reach(endpoint); };
}

Reach Programmer::reach(const IpAddress& endpoint) {
  const auto known = reaches_.find(endpoint);
  if (known != reaches_.end()) return known->second;
  Reach result;
  if (const auto route = rtnl_.findRoute(endpoint); route && route->type == RTN_UNICAST) {
    result.onLink = netlink::isOnLink(*route);
    result.link = route->link;
  }
  if (result.onLink) {
    result.answers = neighbourhood_.trusts(endpoint, std::chrono::steady_clock::now());
    askLater(result.link, endpoint);
  }
  return reaches_[endpoint] = result;
}

Result<void> Programmer::refreshNeighbours(const HostNetwork& host) {
  neighbourhood_.setGateways(host.gateway);
  for (const Family family : kFamilies) {
    const auto& underlay = here_.underlay.of(family);
    if (!underlay) continue;
    for (const auto& neighbour : TRY(rtnl_.listNeighbours(family, underlay->link)))
      hearNeighbour(neighbour);
    const bool hasGateway =
        host.gateway.of(family) && host.defaultRoute.of(family) == underlay->link;
    if (hasGateway) askLater(underlay->link, *host.gateway.of(family));
  }
  return {};
}

bool Programmer::hearNeighbour(const netlink::NeighbourSpec& neighbour) {
  const auto& underlay = here_.underlay.of(neighbour.address.family());
  return underlay && underlay->link == neighbour.link &&
         neighbourhood_.note(neighbour, std::chrono::steady_clock::now());
}

void Programmer::askLater(netlink::IfIndex link, const IpAddress& address) {
  if (!neighbourhood_.knows(address) && asked_.size() < kAskedMax && asked_.insert(address).second)
    toAsk_.emplace_back(link, address);
}

/// What comes of it the kernel tells as events. Who cannot be asked is found out about by traffic.
void Programmer::askNeighbours() {
  for (const auto& [link, address] : toAsk_)
    (void)rtnl_.askNeighbour(link, address);
  toAsk_.clear();
}

Result<void> Programmer::refresh(const Model& model, Outcome& outcome) {
  const HostNetwork host = TRY(readHostNetwork(rtnl_));
  here_.pools = model.pools();
  here_.underlay = chooseUnderlay(host, here_.settings, model.self(), model.ownNetworks(), &why_);
  for (const Family family : kFamilies) {
    const auto& vtep = model.self() != nullptr ? model.self()->vtep.of(family) : std::nullopt;
    here_.publishedMac.of(family) = vtep ? std::optional(vtep->mac) : std::nullopt;
  }
  reaches_.clear();
  TRY(refreshNeighbours(host));
  rules_ = rulesInUse(here_, model);
  for (const Family family : kFamilies)
    here_.hostAddress.of(family).reset();
  if (anyTunnel(rules_)) {
    for (const IpPrefix& network : model.ownNetworks()) {
      auto& address = here_.hostAddress.of(network.family());
      if (!address) address = network.address();
    }
  }
  podMtu_ =
      here_.settings.mtuBytes != 0 ? here_.settings.mtuBytes : podMtuBytes(here_.underlay, rules_);
  TRY(enableForwarding(here_.underlay));
  TRY(refreshDevices(outcome));
  if (auto turned = turnKeys(model); !turned) outcome.failures.push_back(std::move(turned.error()));
  return {};
}

Result<void> Programmer::refreshDevices(Outcome& outcome) {
  wanted_ = planDevices(here_, rules_);
  here_.devices = TRY(ensureDevices(rtnl_, wanted_, here_.settings, outcome.failures));
  if (here_.settings.checksumOffload) return {};
  netlink::Offload offload = TRY(netlink::Offload::open());
  for (const DeviceSpec& device : wanted_) {
    auto off = offload.ensureTxChecksum(device.name, false);
    if (!off) outcome.failures.push_back(std::move(off.error()).wrap("device " + device.name));
  }
  return {};
}

void Programmer::plan(const Model& model, const std::string& peer) {
  const Node* node = model.find(peer);
  if (node == nullptr || peer == here_.thisNode) {
    plans_.erase(peer);
    return;
  }
  plans_[peer] = planPeer(here_, *node, model.networksOf(peer), ids_);
}

void Programmer::planAll(const Model& model) {
  plans_.clear();
  for (const auto& [name, node] : model.nodes())
    plan(model, name);
  own_ = planOwn(model.ownNetworks());
}

std::optional<std::chrono::nanoseconds> Programmer::untilNextLook() const {
  std::optional<std::chrono::nanoseconds> wait;
  const auto look = [&wait](const auto& when, const auto& now) {
    if (when == when.max()) return;
    wait = wait ? std::min<std::chrono::nanoseconds>(*wait, when - now) : when - now;
  };
  const auto now = std::chrono::system_clock::now();
  if (keys_) look(rotation_.next(now), now);
  look(neighbourhood_.next(), std::chrono::steady_clock::now());
  return wait;
}

/// A new key for the slot at rest is proposed when its time has come, and taken into use once our
/// Node says that it is published: without the source everything stays.
Result<void> Programmer::turnKeys(const Model& model) {
  if (here_.devices.wireguard[0] == netlink::IfIndex::kNone) return {};
  if (!keys_) keys_ = TRY(KeyRing::open(keyFile_, rotation_.slots()));
  const auto now = std::chrono::system_clock::now();
  here_.wireguardSlot = rotation_.active(now);
  here_.wireguardWarmingUp = rotation_.isWarmingUp(now);
  const std::size_t atRest = (here_.wireguardSlot + 1) % keys_->slots();
  if (!rotation_.isDue(atRest, keys_->made(atRest), now)) {
    keys_->withdraw();
    return {};
  }
  TRY(keys_->propose(atRest));
  if (model.self() != nullptr && keys_->isPublished(model.self()->wireguardKeys))
    return keys_->adopt(now);
  return {};
}

Result<void> Programmer::applyWireguard(Outcome& outcome) {
  for (std::size_t slot = 0; keys_ && slot < keys_->slots(); ++slot)
    TRY(applyWireguard(slot, outcome));
  return {};
}

/// Key, port and peers of one of our WireGuard devices: only what differs, as sessions of peers
/// that stay must not be disturbed.
Result<void> Programmer::applyWireguard(std::size_t slot, Outcome& outcome) {
  const netlink::IfIndex link = here_.devices.wireguard[slot];
  if (link == netlink::IfIndex::kNone) return {};
  auto control = TRY(netlink::WireguardControl::open());
  const auto device = TRY(control.find(link));
  WireguardPeers desired;
  for (const auto& [name, plan] : plans_)
    desired.insert(plan.wireguard[slot].begin(), plan.wireguard[slot].end());
  netlink::WireguardChange change;
  if (device.publicKey != keys_->key(slot).publicKey()) change.privateKey = keys_->key(slot);
  const auto port = static_cast<std::uint16_t>(here_.settings.wireguardPort + slot);
  if (device.listenPort != port) change.listenPort = port;
  change.peers = diff(peersOf(device), desired);
  if (!change.privateKey && !change.listenPort && change.peers.empty()) return {};
  outcome.changes += change.peers.size();
  return control.change(link, change);
}

Result<void> Programmer::apply(const std::vector<netlink::Change>& changes, Outcome& outcome) {
  outcome.changes += changes.size();
  if (changes.empty()) return {};
  for (auto& failure : TRY(netlink::applyChanges(rtnl_, changes)))
    outcome.failures.push_back(std::move(failure.error));
  return {};
}

NodeRules Programmer::rulesOf(const Model& model) {
  NodeRules rules;
  rules.masqueraded = masqueraded(here_, model);
  rules.pods = wide_;
  rules.lengths = lengths_;
  rules.encryptedLengths = encryptedLengths_;
  rules.excluded = here_.settings.nonMasqueradeCidrs;
  for (const DeviceSpec& device : wanted_) {
    rules.tunnels.push_back(device.name);
    const auto* vxlan = std::get_if<netlink::Vxlan>(&device.kind);
    if (vxlan != nullptr && std::count(rules.ports.begin(), rules.ports.end(), vxlan->port) == 0)
      rules.ports.push_back(vxlan->port);
  }
  return rules;
}

bool Programmer::isWide(const IpPrefix& network) const {
  return std::any_of(wide_.begin(), wide_.end(),
                     [&](const IpPrefix& wide) { return covers(wide, network); });
}

NodeTable::Members Programmer::membersOf(const Model& model, const std::string& node) const {
  NodeTable::Members members;
  if (node != here_.thisNode) members.peers = endpointsOf(model.find(node));
  for (const IpPrefix& network :
       node == here_.thisNode ? model.ownNetworks() : model.networksOf(node)) {
    if (!isWide(network)) members.networks.insert(network);
  }
  members.encrypted = encryptedOf(node);
  return members;
}

/// A peer's networks that are to be reached by WireGuard, even if they cannot be right now.
std::set<IpPrefix> Programmer::encryptedOf(const std::string& node) const {
  std::set<IpPrefix> result;
  const auto plan = plans_.find(node);
  if (plan == plans_.end()) return result;
  for (const PeerPlan::Use& use : plan->second.uses) {
    const bool encrypts = use.rule.encapsulation == Encapsulation::kWireguard;
    if (encrypts && (use.path.kind == Path::Kind::kWireguard || use.path.kind == Path::Kind::kNone))
      result.insert(use.networks.begin(), use.networks.end());
  }
  return result;
}

bool Programmer::haveSets(const NodeTable::Members& members) const {
  const auto haveAll = [](const std::set<IpPrefix>& networks, const auto& lengths) {
    return std::all_of(networks.begin(), networks.end(), [&](const IpPrefix& network) {
      return lengths.count({network.family(), network.length()}) != 0;
    });
  };
  return haveAll(members.networks, lengths_) && haveAll(members.encrypted, encryptedLengths_);
}

Result<void> Programmer::ensureTable(const Model& model) {
  wide_ = wideNetworks(here_);
  members_.clear();
  letIn_.clear();
  lengths_.clear();
  encryptedLengths_.clear();
  NodeTable::Members all;
  for (const auto& [name, node] : model.nodes()) {
    NodeTable::Members& members = members_[name] = membersOf(model, name);
    for (const IpAddress& endpoint : members.peers)
      ++letIn_[endpoint];
    for (const IpPrefix& network : members.networks)
      lengths_.insert({network.family(), network.length()});
    for (const IpPrefix& network : members.encrypted)
      encryptedLengths_.insert({network.family(), network.length()});
    all.peers.insert(members.peers.begin(), members.peers.end());
    all.networks.insert(members.networks.begin(), members.networks.end());
    all.encrypted.insert(members.encrypted.begin(), members.encrypted.end());
  }
  const NodeRules rules = rulesOf(model);
  TRY(table_.ensureRules(rules));
  return table_.ensureMembers(rules, all);
}

/// An endpoint that two nodes have (one took the other's place) stays until the last of them goes.
bool Programmer::noteMembers(const Model& model, const std::string& node,
                             NodeTable::Members& before, NodeTable::Members& now) {
  NodeTable::Members& former = members_[node];
  NodeTable::Members latter = membersOf(model, node);
  if (!haveSets(latter)) return false;
  for (const IpAddress& endpoint : latter.peers) {
    if (former.peers.count(endpoint) == 0 && letIn_[endpoint]++ == 0) now.peers.insert(endpoint);
  }
  for (const IpAddress& endpoint : former.peers) {
    if (latter.peers.count(endpoint) != 0 || --letIn_[endpoint] != 0) continue;
    letIn_.erase(endpoint);
    before.peers.insert(endpoint);
  }
  before.networks.insert(former.networks.begin(), former.networks.end());
  now.networks.insert(latter.networks.begin(), latter.networks.end());
  before.encrypted.insert(former.encrypted.begin(), former.encrypted.end());
  now.encrypted.insert(latter.encrypted.begin(), latter.encrypted.end());
  former = std::move(latter);
  if (model.find(node) == nullptr) members_.erase(node);
  return true;
}

Result<Programmer::Outcome> Programmer::programAll(const Model& model) {
  Outcome outcome;
  TRY(refresh(model, outcome));
  planAll(model);
  TRY(ensureTable(model));
  Fib desired = own_;
  for (const auto& [name, plan] : plans_)
    desired.add(plan.fib);
  TRY(applyWireguard(outcome));
  const auto devices = TRY(listDevices(rtnl_, here_.settings));
  const Fib actual = TRY(readFib(rtnl_, indexesOf(devices)));
  TRY(apply(diff(actual, desired), outcome));
  askNeighbours();
  return outcome;
}

Result<Programmer::Outcome> Programmer::programPeers(const Model& model,
                                                     const std::set<std::string>& peers) {
  Outcome outcome;
  Fib before, after;
  NodeTable::Members out, in;
  for (const std::string& peer : peers) {
    if (const auto found = plans_.find(peer); found != plans_.end()) before.add(found->second.fib);
    plan(model, peer);
    if (!noteMembers(model, peer, out, in)) return programAll(model);
    if (const auto found = plans_.find(peer); found != plans_.end()) after.add(found->second.fib);
  }
  TRY(applyWireguard(outcome));
  TRY(table_.changeMembers(out, in));
  TRY(apply(diff(before, after), outcome));
  askNeighbours();
  return outcome;
}

}  // namespace culvert::routing
