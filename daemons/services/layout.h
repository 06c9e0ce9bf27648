#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemons/services/model.h"
#include "netlink/nft.h"

/// Table `inet culvert_services`: its sets, chains and rules. Rules are few, and their number
/// depends on how many different numbers of endpoints there are, not on how many Services:
/// daemons/services/README.md walks a packet through them.
namespace culvert::services::layout {

inline nft::Table table() {
  return {nft::TableFamily::kInet, "culvert_services"};
}

/// Frontends are looked up in up to four places of a family: addresses or node ports, for everybody
/// or, before that, for packets from outside, whom externalTrafficPolicy Local treats differently.
struct Place {
  Family family = Family::kV4;
  bool node = false;  // node ports: the key is `l4proto . dport`, without an address
  bool outside = false;
  auto operator<=>(const Place&) const = default;
};
std::vector<Place> allPlaces();

/// Sets that are returned by reference live for ever.
///
/// Frontends with endpoints (or, for packets from outside, without any here).
const nft::Set& frontends(const Place& place);
/// Those whose number of endpoints has this bit. Together the sets say the number, and a few rules
/// find the chain for it; a verdict map would do it in one lookup, but the kernel walks all verdict
/// elements of a table whenever one is added.
const nft::Set& countBit(const Place& place, unsigned bit);
/// `key . index` to `address . port`.
const nft::Set& endpoints(const Place& place);
/// Frontends with session affinity, to their chain.
const nft::Set& sticky(const Place& place);
/// The chain of a port with session affinity: first where the client was before, then anywhere.
nft::Chain stickyChain(const Place& place, const std::string& port);
/// Where its clients were: `source` to `address . port`, for as long as the affinity.
nft::Set clients(Family family, const std::string& port);
bool isClients(const nft::Set& set);
/// Where they may be: `address . port` of its endpoints.
nft::Set members(Family family, const std::string& port);
/// Frontends with session affinity, to the chain that notes where the client is now.
const nft::Set& remembered(const Place& place);
nft::Chain rememberChain(const std::string& port);

/// No endpoint anywhere; none that the policy allows.
const nft::Set& rejected(const Place& place);
const nft::Set& dropped(const Place& place);
/// Where the source becomes this node's: always; if it is this node that sends.
const nft::Set& masqueraded(const Place& place);
const nft::Set& masqueradedForHost(const Place& place);

const nft::Set& clusterIps(Family family);     // masqueraded if it is no pod that sends
const nft::Set& nodeAddresses(Family family);  // at which node ports are open
const nft::Set& hairpins(Family family);       // `address . address` of endpoints on this node
const nft::Set& guarded(Family family);        // frontends with loadBalancerSourceRanges
/// `key . network` that may send to a guarded frontend; networks of one length.
const nft::Set& sources(Family family, std::uint8_t length);

/// Sets for which there are rules only if they have elements (Shape::filled).
const std::set<std::string, std::less<>>& decidingSets();

/// All sets of a place that have keyOf() as their key.
std::vector<const nft::Set*> keyedSets(const Place& place);

/// The key of a frontend, as its sets have it.
nft::Value keyOf(const Place& place, const At& at);
nft::Value sourceKey(const At& at, const IpAddress& network);
nft::Value endpointKey(const Place& place, const At& at, std::uint32_t index);

/// What rules depend on.
struct Shape {
  std::vector<IpPrefix> pods;  // who sends from them is a pod
  std::set<std::pair<Family, std::uint8_t>>
      sourceLengths;                                // of networks in loadBalancerSourceRanges
  std::map<Place, std::set<std::uint32_t>> counts;  // different numbers of endpoints
  /// Names of sets that have elements: a packet is not compared with empty ones.
  std::set<std::string, std::less<>> filled;
  bool operator==(const Shape&) const = default;
  bool has(const nft::Set& set) const { return filled.count(set.name) != 0; }
  /// Adds all that the other has, but for pods.
  void merge(const Shape& other) {
    filled.insert(other.filled.begin(), other.filled.end());
    sourceLengths.insert(other.sourceLengths.begin(), other.sourceLengths.end());
    for (const auto& [place, numbers] : other.counts)
      counts[place].insert(numbers.begin(), numbers.end());
  }
};

/// What a port with session affinity has of its own, for one choice of its endpoints; `places` are
/// those of its frontends, with the number of endpoints. Replaces the rules of what is there.
struct StickyPort {
  std::string name;
  Family family = Family::kV4;
  std::chrono::seconds timeout{};
  std::map<Place, std::uint32_t> places;
  bool operator==(const StickyPort&) const = default;
};
/// Of the first rule of its rememberChain(): says all that the rules depend on.
std::string commentOf(const StickyPort& port);
void addSticky(const StickyPort& port, nft::Transaction& tx);
void removeSticky(const StickyPort& port, nft::Transaction& tx);

/// All of the table but the elements and sticky ports: what is there stays, rules are replaced.
/// "rules `digest`" is the comment of the first rule of firstChain().
nft::Chain firstChain();
nft::Transaction render(const Shape& shape, const std::string& digest);
/// The table and its sets only.
nft::Transaction renderSets(const Shape& shape);

}  // namespace culvert::services::layout
