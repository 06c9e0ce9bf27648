#pragma once

#include <map>
#include <string>

#include "daemons/bgp/bird_config.h"

namespace culvert::bgp {

/// The parts of render() that are in BIRD's filter language.

/// Names of the filters of a peer's channel.
std::string importFilterName(const Peer& peer);
std::string exportFilterName(const Peer& peer);

/// Functions and filters that `config`'s peers and the kernel protocols use. Each filter refuses
/// what must never pass, then asks the peer's BGPFilters in order, then follows the default.
std::string filterText(const BirdConfig& config);

/// " [ 10.0.0.0/8+, ... ]" of the family's, or empty if there are none.
std::string prefixSet(const std::vector<IpPrefix>& prefixes, Family family);

}  // namespace culvert::bgp
