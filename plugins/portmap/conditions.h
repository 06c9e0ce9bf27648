#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "netlink/nft_rule.h"

namespace culvert::plugins {

/// In whose words conditions may be written.
enum class Syntax { kAny, kIptables, kNft };

/// What "conditionsV4" and "conditionsV6" say about packets to mapped ports, as nft statements:
/// source, destination and incoming interface, each possibly negated. iptables' words (`-s`, `-d`,
/// `-i` and their long forms, `!` before or after them) and nft's (`ip saddr != 10.0.0.0/8`,
/// `iifname "eth0"`) mean the same. A word may be a list element of its own or not.
/// kInvalidConfig tells what is not understood.
Result<std::vector<nft::Statement>> parseConditions(const std::vector<std::string>& words,
                                                    Family family, Syntax syntax);

}  // namespace culvert::plugins
