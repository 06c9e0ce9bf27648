#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemons/services/evaluate.h"
#include "daemons/services/fake_kernel.h"
#include "daemons/services/frontend_state.h"

/// What nf_tables does to a packet, found by interpreting rules. Knows statements and fields, and
/// nothing of the layout: names of chains and sets mean nothing to it.
namespace culvert::services::test {

/// One of the things that can become of a packet.
struct Fate {
  Verdict::Kind kind = Verdict::Kind::kNotOurs;
  End to;                   // kForward
  bool masquerade = false;  // also without translation
  auto operator<=>(const Fate&) const = default;
};

/// "10.1.0.1:8080 +m", "DROP", "REJECT", "-"
std::string textOf(const Fate& fate);
std::string textOf(const std::set<Fate>& fates);

std::set<Fate> fatesOf(const Verdict& verdict, const Packet& packet);

struct Trace {
  std::set<Fate> fates;
  /// Elements that rules put into sets on the way.
  std::set<std::pair<std::string, std::pair<nft::Value, nft::Value>>> updates;
};

/// All that can become of the first packet of a connection, over all random numbers. `local`: the
/// addresses of this host. A packet of Origin::kHost goes out, others come in.
/// Throws std::logic_error for what it does not know.
Trace trace(const Ruleset& ruleset, const std::set<IpAddress>& local, const Packet& packet);

}  // namespace culvert::services::test
