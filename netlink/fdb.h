#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/mac.h"
#include "base/result.h"
#include "netlink/link.h"
#include "netlink/rtnl.h"

// A VXLAN device's forwarding database (bridge-fdb(8), uapi/linux/neighbour.h): behind which
// outer address a MAC is.
namespace culvert::netlink {

struct FdbEntry {
  IfIndex link = IfIndex::kNone;
  MacAddress mac;
  IpAddress remote;            // NDA_DST
  std::uint16_t port = 0;      // UDP; 0: the device's
  std::uint32_t vni = 0;       // 0: the device's
  std::uint16_t state = 0x80;  // NUD_*; NUD_PERMANENT. Learned ones are NUD_REACHABLE.
  bool operator==(const FdbEntry&) const = default;
};

/// nullopt if `reply` is no RTM_NEWNEIGH of AF_BRIDGE with an outer address.
std::optional<FdbEntry> parseFdbEntry(const Reply& reply);

/// `forwarding entry 02:…:09 to 198.18.0.2`
std::string describe(const FdbEntry& entry);

class ForwardingDatabase {
 public:
  /// `rtnl` outlives this.
  explicit ForwardingDatabase(Rtnl& rtnl) : socket_(rtnl.socket()) {}

  Result<std::vector<FdbEntry>> list(IfIndex vxlan);
  /// One remote for a MAC: another one that it had is replaced.
  Result<void> ensure(const FdbEntry& entry);
  /// This MAC at this remote: if it is elsewhere by now, nothing happens. kNotFound if the MAC has
  /// no entry at all.
  Result<void> remove(const FdbEntry& entry);

 private:
  Socket& socket_;
};

}  // namespace culvert::netlink
