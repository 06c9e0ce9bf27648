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

/// Frontends with endpoints (or, for packets from outside, without any here).
nft::Set frontends(const Place& place);
/// Those whose number of endpoints has this bit. Together the sets say the number, and a few rules
/// find the chain for it; a verdict map would do it in one lookup, but the kernel walks all verdict
/// elements of a table whenever one is added.
nft::Set countBit(const Place& place, unsigned bit);
/// `key . index` to `address . port`.
nft::Set endpoints(const Place& place);
/// Frontends with session affinity, to their chain.
nft::Set sticky(const Place& place);
/// The chain of a port with session affinity: first where the client was before, then anywhere.
nft::Chain stickyChain(const Place& place, const std::string& port);
/// Where its clients were: `source` to `address . port`, for as long as the affinity.
nft::Set clients(Family family, const std::string& port);
/// Where they may be: `address . port` of its endpoints.
nft::Set members(Family family, const std::string& port);
/// Frontends with session affinity, to the chain that notes where the client is now.
nft::Set remembered(const Place& place);
nft::Chain rememberChain(const std::string& port);

/// No endpoint anywhere; none that the policy allows.
nft::Set rejected(const Place& place);
nft::Set dropped(const Place& place);
/// Where the source becomes this node's: always; if it is this node that sends.
nft::Set masqueraded(const Place& place);
nft::Set masqueradedForHost(const Place& place);

nft::Set clusterIps(Family family);     // masqueraded if it is no pod that sends
nft::Set nodeAddresses(Family family);  // at which node ports are open
nft::Set hairpins(Family family);       // `address . address` of endpoints on this node
nft::Set guarded(Family family);        // frontends with loadBalancerSourceRanges
/// `key . network` that may send to a guarded frontend; networks of one length.
nft::Set sources(Family family, std::uint8_t length);

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
  bool operator==(const Shape&) const = default;
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

/// All of the table but the elements: what is there stays, rules are replaced. "rules `digest`" is
/// the comment of the first rule of firstChain().
nft::Chain firstChain();
nft::Transaction render(const Shape& shape, const std::string& digest);

}  // namespace culvert::services::layout
