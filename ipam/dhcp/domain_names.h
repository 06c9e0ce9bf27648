#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::ipam::dhcp {

/// Whether `name` can stand in resolv.conf: labels of letters, digits, '-' and '_', 253 bytes at
/// most. A server's word ends up in the container's files, so nothing else passes.
bool isDomainName(std::string_view name);

/// Names in DNS wire format one after another (RFC 1035 section 3.1): DHCP option 119, where names
/// may be compressed (RFC 3397), and DHCPv6 option 24. Nothing at all if any part is malformed;
/// well-formed names that isDomainName() refuses are left out.
std::optional<std::vector<std::string>> parseDomainNames(std::string_view data);

}  // namespace culvert::ipam::dhcp
