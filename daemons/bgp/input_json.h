#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "daemons/bgp/model.h"

namespace culvert::bgp {

/// A BgpInput as JSON, for `culvertctl bgp render` and for tests:
///
///     {"thisNode": "a",
///      "nodes": [{"name": "a", "labels": {}, "ipv4": "198.18.0.1/24", "ipv6": "fd18::1/64",
///                 "asNumber": 64512, "routeReflectorClusterID": "1.2.3.4",
///                 "podBlocks": ["10.244.0.0/26"], "ready": true, "settled": true}],
///      "configurations": [BGPConfiguration ...], "peers": [BGPPeer ...],
///      "filters": [BGPFilter ...], "services": ["10.96.0.1/32"],
///      "clusterPrefixes": ["10.244.0.0/16"], "passwords": {"secret/key": "..."},
///      "topology": {"mesh": true, "reflectors": false}, "settled": false}
///
/// An object that is wrong is left out and reported in `problems`; kInvalidConfig is for the rest.
Result<BgpInput> parseInput(const nlohmann::json& value, std::vector<Problem>& problems);

}  // namespace culvert::bgp
