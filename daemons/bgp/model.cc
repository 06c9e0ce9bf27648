#include "daemons/bgp/model.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/digest.h"

namespace culvert::bgp {
namespace {

using objects::BgpConfiguration;
using objects::BgpFilter;
using objects::BgpPeer;

constexpr std::array<Family, 2> kFamilies{Family::kV4, Family::kV6};

/// Pods' and tunnels' interfaces: a next hop is never resolved through them.
const std::vector<std::string>& ownInterfaces() {
  static const std::vector<std::string> kPatterns{
      "cali*",         "cni*",    "culvert*", "flannel*", "ipip*",  "tunl*", "kube-ipvs*",
      "nodelocaldns*", "podman*", "docker*",  "veth*",    "vxlan*", "wg*"};
  return kPatterns;
}

template <class T>
void sortUnique(std::vector<T>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

template <class T>
void sortByName(std::vector<T>& list) {
  std::sort(list.begin(), list.end(), [](const T& a, const T& b) { return a.name < b.name; });
}

char digit(Family family) {
  return family == Family::kV4 ? '4' : '6';
}

/// A peer's password as it can be put into the configuration.
bool usablePassword(const std::string& password) {
  return !password.empty() && password.size() <= 80 &&
         std::all_of(password.begin(), password.end(), [](char c) {
           return c != '"' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
         });
}

class Builder {
 public:
  explicit Builder(const BgpInput& input) : input_(input) {}

  Result<BgpModel> build() {
    TRY(findSelf());
    settings_ = settingsOf(self_->name);
    for (const BgpConfiguration& each : input_.configurations) {
      if (each.asNumber) asNumbers_[each.name] = *each.asNumber;
    }
    readGlobals();
    addFilters();
    addExplicitPeers();
    addNodePeers();
    finish();
    return std::move(model_);
  }

 private:
  void problem(const std::string& object, const std::string& message) {
    model_.problems.push_back({object, message});
  }

  Result<void> findSelf() {
    nodes_ = input_.nodes;
    std::erase_if(nodes_, [&](const Node& node) { return !acceptable(node); });
    sortByName(nodes_);
    const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                    [&](const Node& node) { return node.name == input_.thisNode; });
    if (found == nodes_.end())
      return makeError(Errc::kNotFound, "node " + input_.thisNode + " is not there");
    if (!found->ipv4 && !found->ipv6)
      return makeError(Errc::kNotAvailable, "node " + input_.thisNode + " has no address yet");
    self_ = &*found;
    return {};
  }

  bool acceptable(const Node& node) {
    const bool plain = std::all_of(node.name.begin(), node.name.end(), [](char c) {
      return static_cast<unsigned char>(c) > 0x20 && c != '"' && c != 0x7f;
    });
    if (!plain || node.name.empty()) problem("Node", "one has a name with quotes or spaces");
    return plain && !node.name.empty();
  }

  BgpConfiguration settingsOf(const std::string& node) const {
    BgpConfiguration base;
    BgpConfiguration own;
    for (const BgpConfiguration& each : input_.configurations) {
      if (each.name == "default") base = each;
      if (each.name == "node." + node) own = each;
    }
    return own.over(base);
  }

  AsNumber asOf(const Node& node) const {
    if (node.asNumber != 0) return node.asNumber;
    const auto own = asNumbers_.find("node." + node.name);
    if (own != asNumbers_.end()) return own->second;
    const auto base = asNumbers_.find("default");
    return base == asNumbers_.end() ? objects::kDefaultAsNumber : base->second;
  }

  static IpAddress routerIdOf(const Node& node) {
    if (node.ipv4) return node.ipv4->address();
    const std::string hash = sha512Hex(node.name, 8);
    std::uint32_t bits = 0x01000000U | static_cast<std::uint32_t>(std::stoul(hash, nullptr, 16));
    std::array<std::uint8_t, 4> bytes{};
    for (std::size_t i = bytes.size(); i-- > 0; bits >>= 8U)
      bytes.at(i) = static_cast<std::uint8_t>(bits);
    return IpAddress::fromBytes(Family::kV4, bytes.data());
  }

  void readGlobals() {
    BirdConfig& config = model_.config;
    config.routerId = routerIdOf(*self_);
    config.logLevel = settings_.logSeverityScreen;
    config.ignoredInterfaces =
        input_.podInterfaces.empty() ? ownInterfaces() : input_.podInterfaces;
    for (const std::string& each : settings_.ignoredInterfaces)
      config.ignoredInterfaces.push_back(each);
    config.priorityV4 = settings_.ipv4NormalRoutePriority.value_or(objects::kDefaultRoutePriority);
    config.priorityV6 = settings_.ipv6NormalRoutePriority.value_or(objects::kDefaultRoutePriority);
    config.communities = settings_.prefixAdvertisements;
    config.services = input_.services;
    for (const auto& list : {settings_.serviceClusterIps, settings_.serviceExternalIps,
                             settings_.serviceLoadBalancerIps, input_.services})
      config.servicePrefixes.insert(config.servicePrefixes.end(), list.begin(), list.end());
    readBlocks();
  }

  void readBlocks() {
    BirdConfig& config = model_.config;
    config.clusterPrefixes = input_.clusterPrefixes;
    for (const Node& node : nodes_) {
      for (const IpPrefix& block : node.podBlocks) {
        if (&node == self_) {
          config.ownBlocks.push_back(block.network());
        } else {
          reportClaim(node, block);
        }
        if (!covered(block)) config.clusterPrefixes.push_back(block.network());
      }
    }
  }

  void reportClaim(const Node& other, const IpPrefix& block) {
    for (const IpPrefix& own : self_->podBlocks) {
      if (own.overlaps(block))
        problem("Node " + other.name,
                "claims " + block.text() + ", as this node does " + own.text());
    }
  }

  bool covered(const IpPrefix& block) const {
    return std::any_of(input_.clusterPrefixes.begin(), input_.clusterPrefixes.end(),
                       [&](const IpPrefix& each) {
                         return each.length() <= block.length() && each.overlaps(block);
                       });
  }

  void addFilters() {
    for (const BgpFilter& filter : input_.filters) {
      for (const Family family : kFamilies) {
        for (const bool import : {true, false}) {
          const auto& rules = filter.rules(family, import);
          if (!rules.empty()) allFilters_.push_back({filter.name, family, import, rules});
        }
      }
    }
  }

  objects::GracefulRestart restart(const std::optional<objects::GracefulRestart>& own,
                                   const std::optional<std::chrono::seconds>& time) const {
    objects::GracefulRestart result =
        own.value_or(settings_.gracefulRestart.value_or(objects::GracefulRestart()));
    if (time) result.restartTime = *time;
    return result;
  }

  /// The password a session must have; nullopt, and a problem, if it is not there: a session that
  /// should be protected never runs unprotected.
  std::optional<std::string> password(const std::optional<objects::SecretKeyRef>& ref,
                                      const std::string& object) {
    if (!ref) return "";
    const auto found = input_.passwords.find(ref->text());
    if (found == input_.passwords.end()) {
      problem(object, "its password is not there: Secret " + ref->name + ", key " + ref->key);
    } else if (!usablePassword(found->second)) {
      problem(object,
              "its password is empty, of over 80 bytes, or has double quotes or control "
              "characters");
    } else {
      return found->second;
    }
    return std::nullopt;
  }

  /// What every session of this node's has.
  Peer ownEnd(Family family) const {
    Peer peer;
    const auto& address = self_->address(family);
    if (address) peer.localAddress = address->address();
    peer.localPort = settings_.listenPort.value_or(objects::kBgpPort);
    peer.localAs = asOf(*self_);
    peer.strictBind = settings_.bindNodeIp.value_or(false) && peer.localAddress.has_value();
    return peer;
  }

  /// One session per neighbour: the first that asks for it.
  void add(Peer peer, const std::string& object) {
    if (peer.neighbor) {
      const auto [other, added] =
          neighbors_.try_emplace({*peer.neighbor, peer.neighborPort}, object);
      if (!added) {
        if (!object.empty() && other->second != object)
          problem(object,
                  "peers with " + peer.neighbor->text() + ", as " + other->second + " does");
        return;
      }
    }
    model_.config.peers.push_back(std::move(peer));
  }

  void addExplicitPeers() {
    std::vector<BgpPeer> peers = input_.peers;
    sortByName(peers);
    for (const BgpPeer& each : peers) {
      if (each.peerIp) {
        addRouter(each);
      } else {
        addSelectedNodes(each);
      }
    }
  }

  const Node* nodeAt(const IpAddress& address) const {
    for (const Node& node : nodes_) {
      const auto& own = node.address(address.family());
      if (own && own->address() == address) return &node;
    }
    return nullptr;
  }

  void applyOptions(const BgpPeer& from, Peer& peer) {
    if (from.localAsNumber != 0) peer.localAs = from.localAsNumber;
    if (!from.sourceNodeIp) {
      peer.localAddress.reset();
      peer.strictBind = false;
    }
    peer.ttlSecurity = from.ttlSecurity;
    peer.allowLocalAs = from.numAllowedLocalAsNumbers;
    peer.keepaliveTime = from.keepaliveTime;
    peer.gracefulRestart = restart(from.gracefulRestart, from.maxRestartTime);
    peer.nextHop = from.nextHopMode;
    peer.bfd = from.bfd;
    peer.importLimit = from.importLimit;
    peer.exportLimit = from.exportLimit;
    peer.filters = knownFilters(from);
  }

  std::vector<std::string> knownFilters(const BgpPeer& peer) {
    std::vector<std::string> names;
    for (const std::string& name : peer.filters) {
      const bool known = std::any_of(input_.filters.begin(), input_.filters.end(),
                                     [&](const BgpFilter& each) { return each.name == name; });
      if (known) names.push_back(name);
      if (!known) problem("BGPPeer " + peer.name, "there is no BGPFilter " + name);
    }
    return names;
  }

  bool inPodRange(const IpAddress& address) const {
    return std::any_of(model_.config.clusterPrefixes.begin(), model_.config.clusterPrefixes.end(),
                       [&](const IpPrefix& each) { return each.contains(address); });
  }

  void addRouter(const BgpPeer& from) {
    const std::string object = "BGPPeer " + from.name;
    const Node* node = nodeAt(*from.peerIp);
    if (node == self_ || !from.selects(self_->name, self_->labels)) return;
    if (inPodRange(*from.peerIp))
      return problem(object, from.peerIp->text() + " is an address of pods");
    const Family family = from.peerIp->family();
    if (!self_->address(family))
      return problem(object, std::string("this node has no IPv") + digit(family) + " address");
    const auto secret = password(from.password, object);
    if (!secret) return;
    Peer peer = ownEnd(family);
    peer.name = symbolName(std::string("peer") + digit(family), from.name);
    peer.description = object;
    peer.role = node == nullptr ? PeerRole::kExternal : PeerRole::kNode;
    peer.neighbor = from.peerIp;
    peer.neighborPort = from.peerPort != 0 ? from.peerPort : objects::kBgpPort;
    peer.neighborAs = from.asNumber;
    peer.password = *secret;
    applyOptions(from, peer);
    peer.direct = peer.role == PeerRole::kExternal && from.ttlSecurity <= 1 && !from.reachableBy &&
                  self_->address(family)->network().contains(*from.peerIp);
    if (node != nullptr) reflectTo(*node, peer);
    if (from.reachableBy)
      model_.config.gateways.push_back({IpPrefix::host(*from.peerIp), from.reachableBy});
    add(std::move(peer), object);
  }

  /// RFC 4456: this node is a reflector by its cluster id, for nodes that do not share it.
  void reflectTo(const Node& node, Peer& peer) const {
    if (!self_->reflectorClusterId || peer.external()) return;
    if (node.reflectorClusterId == self_->reflectorClusterId) return;
    peer.reflectorClient = true;
    peer.clusterId = self_->reflectorClusterId;
  }

  bool joins(const BgpPeer& peer, const Node& other) const {
    const auto connects = [&](const Node& from, const Node& to) {
      return peer.selects(from.name, from.labels) && peer.peerSelector->matches(to.labels);
    };
    return connects(*self_, other) || (peer.reversePeering && connects(other, *self_));
  }

  void addSelectedNodes(const BgpPeer& from) {
    const std::string object = "BGPPeer " + from.name;
    std::optional<std::string> secret;
    for (const Node& other : nodes_) {
      if (&other == self_ || !joins(from, other)) continue;
      if (!secret) secret = password(from.password, object);
      if (!secret) return;
      for (const Family family : kFamilies) {
        auto peer = nodePeer(other, family);
        if (!peer) continue;
        applyOptions(from, *peer);
        if (from.asNumber != 0) peer->neighborAs = from.asNumber;
        peer->name = symbolName(std::string("peer") + digit(family), from.name + "/" + other.name);
        peer->password = *secret;
        reflectTo(other, *peer);
        add(std::move(*peer), object);
      }
    }
  }

  std::optional<Peer> nodePeer(const Node& other, Family family) const {
    if (!other.address(family) || !self_->address(family)) return std::nullopt;
    Peer peer = ownEnd(family);
    peer.neighbor = other.address(family)->address();
    peer.neighborPort = settings_.listenPort.value_or(objects::kBgpPort);
    peer.neighborAs = asOf(other);
    peer.description = "node " + other.name;
    peer.passive = *peer.neighbor < *peer.localAddress;
    peer.bfd = settings_.bfd.value_or(objects::BfdOptions());
    peer.gracefulRestart = restart(std::nullopt, settings_.nodeMeshMaxRestartTime);
    return peer;
  }

  void addNodePeers() {
    if (!settings_.nodeToNodeMeshEnabled.value_or(true)) return;
    const auto secret = password(settings_.nodeMeshPassword, "BGPConfiguration");
    if (!secret) return;
    chooseTopology();
    if (model_.topology.mesh) addMesh(*secret);
    if (model_.topology.reflectors) addReflection(*secret);
  }

  void chooseTopology() {
    const Topology wanted = wantedTopology(
        nodes_.size(), settings_.meshMaxNodes.value_or(objects::kDefaultMeshMaxNodes),
        input_.topology);
    const bool settled =
        input_.settled && std::all_of(nodes_.begin(), nodes_.end(), [&](const Node& node) {
          return &node == self_ || node.settled;
        });
    model_.topology = nextTopology(input_.topology, wanted, settled);
    model_.changing = model_.topology != wanted;
  }

  void addMesh(const std::string& secret) {
    if (self_->reflectorClusterId) return;
    for (const Node& other : nodes_) {
      if (&other == self_ || other.reflectorClusterId) continue;
      for (const Family family : kFamilies) {
        auto peer = nodePeer(other, family);
        if (!peer) continue;
        peer->name = symbolName(std::string("node") + digit(family), other.name);
        peer->password = secret;
        add(std::move(*peer), "");
      }
    }
  }

  std::size_t perZone() const {
    return settings_.reflectorsPerZone.value_or(objects::kDefaultReflectorsPerZone);
  }

  void addReflection(const std::string& secret) {
    model_.reflectors = chooseReflectors(nodes_, perZone());
    const bool reflects =
        std::binary_search(model_.reflectors.begin(), model_.reflectors.end(), self_->name);
    const auto sought =
        reflects ? model_.reflectors : reflectorsOf(*self_, nodes_, model_.reflectors, perZone());
    for (const Node& other : nodes_) {
      if (&other == self_ || !std::binary_search(sought.begin(), sought.end(), other.name))
        continue;
      for (const Family family : kFamilies)
        addReflector(other, family, reflects, secret);
    }
    if (!reflects) return;
    for (const IpPrefix& range : clientRanges())
      addClients(range, secret);
  }

  std::uint16_t reflectorPort() const {
    return settings_.reflectorPort.value_or(objects::kReflectorPort);
  }

  void addReflector(const Node& other, Family family, bool reflects, const std::string& secret) {
    auto peer = nodePeer(other, family);
    if (!peer) return;
    peer->name = symbolName(std::string("reflector") + digit(family), other.name);
    peer->description = "reflector " + other.name;
    peer->neighborPort = reflectorPort();
    peer->password = secret;
    peer->passive = reflects && peer->passive;
    if (reflects) peer->localPort = reflectorPort();
    add(std::move(*peer), "");
  }

  /// Where clients come from: given, or the links' usual sizes around nodes' addresses, which
  /// change when the cluster gets a new subnet and not when it gets a node.
  std::vector<IpPrefix> clientRanges() const {
    std::vector<IpPrefix> ranges = settings_.nodeRanges;
    if (ranges.empty()) {
      for (const Node& node : nodes_) {
        if (node.ipv4) ranges.push_back(IpPrefix(node.ipv4->address(), 24).network());
        if (node.ipv6) ranges.push_back(IpPrefix(node.ipv6->address(), 64).network());
      }
    }
    sortUnique(ranges);
    return ranges;
  }

  void addClients(const IpPrefix& range, const std::string& secret) {
    if (!self_->address(range.family())) return;
    Peer peer = ownEnd(range.family());
    peer.name = symbolName(std::string("clients") + digit(range.family()), range.text());
    peer.dynamicName = "client" + sha512Hex(range.text(), 6) + "_";
    peer.description = "clients in " + range.text();
    peer.range = range;
    peer.neighborPort = reflectorPort();
    peer.localPort = reflectorPort();
    peer.neighborAs = peer.localAs;
    peer.reflectorClient = true;
    peer.clusterId = self_->reflectorClusterId.value_or(routerIdOf(*self_));
    peer.password = secret;
    peer.bfd = settings_.bfd.value_or(objects::BfdOptions());
    peer.gracefulRestart = restart(std::nullopt, settings_.nodeMeshMaxRestartTime);
    add(std::move(peer), "");
  }

  void finish() {
    BirdConfig& config = model_.config;
    sortUnique(config.ownBlocks);
    sortUnique(config.services);
    sortUnique(config.gateways);
    sortUnique(config.clusterPrefixes);
    sortUnique(config.servicePrefixes);
    sortUnique(config.ignoredInterfaces);
    keepUsedFilters();
    sortByName(config.peers);
    sortUnique(model_.problems);
  }

  void keepUsedFilters() {
    std::set<std::string> used;
    for (const Peer& peer : model_.config.peers)
      used.insert(peer.filters.begin(), peer.filters.end());
    for (FilterRules& filter : allFilters_) {
      if (used.contains(filter.name)) model_.config.filters.push_back(std::move(filter));
    }
    std::stable_sort(model_.config.filters.begin(), model_.config.filters.end(),
                     [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  const BgpInput& input_;
  BgpModel model_;
  std::vector<Node> nodes_;
  const Node* self_ = nullptr;
  BgpConfiguration settings_;
  std::map<std::string, AsNumber> asNumbers_;  // by the configurations' names
  std::vector<FilterRules> allFilters_;
  std::map<std::pair<IpAddress, std::uint16_t>, std::string> neighbors_;
};

}  // namespace

Result<BgpModel> model(const BgpInput& input) {
  return Builder(input).build();
}

}  // namespace culvert::bgp
