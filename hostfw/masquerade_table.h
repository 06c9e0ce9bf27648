#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "hostfw/owned_table.h"
#include "hostfw/owner.h"
#include "netlink/nft.h"

/// The table `inet culvert_cni` as values; README.md draws it. For masquerade.cc and its tests.
namespace culvert::hostfw::masquerade {

inline constexpr std::array<Family, 2> kFamilies = {Family::kV4, Family::kV6};

nft::Table table();
nft::Chain postrouting();
/// Where the packets of masqueraded addresses go.
nft::Chain familyChain(Family family);

/// The masqueraded addresses.
nft::Set sourceSet(Family family);

/// The masqueraded addresses whose subnet has this prefix length, each with the subnet: what goes
/// from the one to the other stays as it is.
nft::Set subnetSet(Family family, std::uint8_t length);

/// Owner (its hashes as four marks) and a number from 0 on -> address and prefix length. So that
/// an owner's addresses are found without being known.
nft::Set ownerMap(Family family);

nft::Value subnetKey(const IpPrefix& prefix);
nft::Value ownerData(const IpPrefix& prefix);
/// Absent if the element's data is not ownerData() of the family.
std::optional<IpPrefix> parseOwnerData(Family family, const nft::Element& element);

/// Whether a set of the table is one of these.
bool isSetName(const std::string& name);

/// The prefix lengths of which there are subnet sets.
struct Lengths {
  std::set<std::uint8_t> v4;
  std::set<std::uint8_t> v6;
  std::set<std::uint8_t>& of(Family family) { return family == Family::kV4 ? v4 : v6; }
};

/// Reads one back from the name of its set; does nothing if it is another set.
void noteLength(const nft::Set& set, Lengths& lengths);

/// Table, sets, chains and rules, whatever of them exists already.
void addFrame(nft::Transaction& tx, Lengths lengths);

/// What masquerades `addresses`, each of them once, for `owner`.
std::vector<Placed> elementsFor(const Owner& owner, const std::vector<IpPrefix>& addresses);

}  // namespace culvert::hostfw::masquerade
