#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cni/types.h"

namespace culvert::ipam {

/// resolv.conf(5): nameserver, domain, search, options; '#' and ';' start comments. Search lists
/// and options of several lines add up, as with the reference plugin.
cni::Dns parseResolvConf(std::string_view content);

/// Reads and parses the file at `path`.
Result<cni::Dns> readResolvConf(const std::string& path);

}  // namespace culvert::ipam
