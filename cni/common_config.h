#pragma once

#include <optional>

#include "cni/config_reader.h"
#include "cni/types.h"

namespace culvert::cni {

/// {"nameservers": [], "domain": "", "search": [], "options": []} at `key`. Absent: nothing; an
/// object with any of its keys, even an empty list: a value (which then replaces IPAM's DNS).
std::optional<Dns> readDns(const ConfigReader& reader, std::string_view key);

/// A list of {"dst", "gw", "mtu", "advmss", "priority", "table", "scope"} at `key`.
std::vector<Route> readRoutes(const ConfigReader& reader, std::string_view key);

}  // namespace culvert::cni
