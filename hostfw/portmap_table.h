#pragma once

#include <compare>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hostfw/owned_table.h"
#include "hostfw/portmap.h"

/// Port mappings in the table `inet culvert_cni` as values; README.md draws it. For portmap.cc and
/// its tests.
namespace culvert::hostfw::portmap {

/// Which chain and maps: empty, or 16 hex digits that stand for a network and its conditions.
using Scope = std::string;
Scope scopeOf(const std::string& network, const PortmapOptions& options);

/// [address .] protocol . port -> container address . port
nft::Set portMap(Family family, bool byAddress, const Scope& scope);
/// Owner and a number from 0 on -> mapping. So that an owner's mappings are found.
nft::Set ownerMap(Family family, const Scope& scope);

/// Which packets to mapped ports are masqueraded: source subnets of one length.
struct Sources {
  Scope scope;
  Family family = Family::kV4;
  bool byAddress = false;
  std::uint8_t length = 0;
  std::uint8_t markBit = 0;
  auto operator<=>(const Sources&) const = default;
};
/// Subnet . [address .] protocol . port
nft::Set sourceSet(const Sources& sources);

/// What exists in the table, read back from the names of its sets.
struct Frame {
  std::set<Scope> scopes;  // without the empty one
  std::set<Sources> sources;
  void note(const std::string& setName);
};
/// Whether a set of the table is one of these.
bool isSetName(const std::string& name);

nft::Element ownerElement(const Owner& owner, std::size_t number, const PortMapping& mapping,
                          const PortmapOptions& options);
/// The mapping of an ownerElement(), with the options that say where its path is.
struct Recorded {
  PortMapping mapping;
  PortmapOptions options;  // snat, masqueradeAll, markBit
};
std::optional<Recorded> parseOwnerElement(Family family, const nft::Element& element);

/// The elements that packets meet.
std::vector<Placed> pathOf(const Scope& scope, const PortMapping& mapping,
                           const PortmapOptions& options, const std::string& tag);

/// Sets, chains and rules, whatever of them exists already, for `own`'s attachments and for
/// everything in `frame`. The chains of other scopes stay as they are.
void addFrame(nft::Transaction& tx, const Frame& frame, const Scope& own,
              const PortmapOptions& options);

/// The base chains and their rules, which are the same whatever is mapped but for the marks.
std::vector<nft::Chain> baseChains();
nft::Chain mappingChain(const Scope& scope);

}  // namespace culvert::hostfw::portmap
